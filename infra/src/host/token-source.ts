/**
 * How a host gets its join token: one shell script per place where a token is kept, which writes the token on standard
 * output and nothing else. It runs as root on the host. No token, and no credential that fetches one, is ever in argv.
 */
import { quoted } from './shell.ts';

export type TokenSource =
  /** A SecureString of AWS Systems Manager, read with the instance's role. */
  | { readonly kind: 'aws'; readonly parameter: string; readonly region: string }
  /** A secret of Google Secret Manager, read with the instance's service account. */
  | { readonly kind: 'gcp'; readonly project: string; readonly secret: string }
  /** A secret of Azure Key Vault, read with the identity of that client id. */
  | {
      readonly kind: 'azure';
      readonly vaultUri: string;
      readonly secret: string;
      readonly clientId: string;
    }
  /** The cloud keeps no secrets: the token comes with the user data, in a file of its own. */
  | { readonly kind: 'user-data'; readonly token: string };

/** Where the token lies that came with the user data, until the host has joined. */
export const tokenFile = '/etc/cognitora/join-token';

/**
 * A host boots before its network and its identity work: about a minute of tries, since retries behind the first ten
 * seconds say that something is wrong.
 */
const curl = 'curl -fsS --retry 12 --retry-delay 5 --retry-all-errors --max-time 20';

const jsonValue = (path: string): string =>
  `python3 -c 'import json, sys; print(json.load(sys.stdin)${path})'`;

/** Curl takes the header from a pipe: its argv is seen by every process of the host. */
const withBearer = (url: string): string =>
  `printf 'header = "Authorization: Bearer %s"\\n' "$access" | ${curl} --config - ${quoted(url)}`;

const aws = ({ parameter, region }: TokenSource & { kind: 'aws' }): readonly string[] => [
  '# Images of Ubuntu come without the AWS CLI; those for deep learning have it.',
  'export PATH="$PATH:/snap/bin" HOME=/root',
  'command -v aws >/dev/null || snap install aws-cli --classic >&2',
  `aws ssm get-parameter --region ${quoted(region)} --name ${quoted(parameter)} \\`,
  '  --with-decryption --query Parameter.Value --output text',
];

const gcp = ({ project, secret }: TokenSource & { kind: 'gcp' }): readonly string[] => {
  const account =
    'http://metadata.google.internal/computeMetadata/v1/instance/service-accounts/default/token';
  const version = `projects/${project}/secrets/${secret}/versions/latest`;
  return [
    `access=$(${curl} -H 'Metadata-Flavor: Google' ${quoted(account)} |`,
    `  ${jsonValue('["access_token"]')})`,
    `${withBearer(`https://secretmanager.googleapis.com/v1/${version}:access`)} |`,
    `  ${jsonValue('["payload"]["data"]')} | base64 -d`,
  ];
};

const azure = ({ vaultUri, secret, clientId }: TokenSource & { kind: 'azure' }): readonly string[] => {
  const query = new URLSearchParams({
    'api-version': '2018-02-01',
    resource: 'https://vault.azure.net',
    client_id: clientId,
  });
  const identity = `http://169.254.169.254/metadata/identity/oauth2/token?${query}`;
  return [
    `access=$(${curl} -H 'Metadata: true' ${quoted(identity)} |`,
    `  ${jsonValue('["access_token"]')})`,
    `${withBearer(`${vaultUri.replace(/\/$/, '')}/secrets/${secret}?api-version=7.4`)} |`,
    `  ${jsonValue('["value"]')}`,
  ];
};

/** The lines of the script that write the token. */
export const tokenLines = (source: TokenSource): readonly string[] => {
  switch (source.kind) {
    case 'aws':
      return aws(source);
    case 'gcp':
      return gcp(source);
    case 'azure':
      return azure(source);
    case 'user-data':
      return [`cat ${tokenFile}`];
  }
};
