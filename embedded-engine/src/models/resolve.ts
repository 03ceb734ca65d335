/**
 * From what `--model` says to a file on disk: the toy, a path, or a file of the hub. Each answer says under
 * which name the model is served when no other is given.
 */
import { open, stat } from 'node:fs/promises';
import path from 'node:path';
import type { Log } from '../log.ts';
import { download, type HubFile } from './download.ts';
import { ensureTiny } from './tiny.ts';

export interface ResolvedModel {
  readonly path: string;
  readonly name: string;
  readonly toy: boolean;
}

/** A mistake in `--model`, in words for the person who typed it. */
export class WrongModel extends Error {}

const hubPattern = /^hf:([\w.-]+)\/([\w.-]+)\/([\w./-]+\.gguf)$/;

/** The parts of `hf:owner/repo/path/file.gguf`. */
export function parseHubName(model: string): HubFile {
  const match = hubPattern.exec(model);
  const [owner, repo, file] = match?.slice(1) ?? [];
  const parts = [owner, repo, ...(file?.split('/') ?? [])];
  const unsafe = parts.some((part) => part === undefined || part === '' || part === '.' || part === '..');
  if (owner === undefined || repo === undefined || file === undefined || unsafe) {
    throw new WrongModel(
      `"${model}" is not hf:owner/repo/file.gguf, for example hf:Qwen/Qwen2.5-0.5B-Instruct-GGUF/` +
        'qwen2.5-0.5b-instruct-q4_k_m.gguf.',
    );
  }
  return { owner, repo, file };
}

/**
 * Large models come in several files, named `-00001-of-00003.gguf`; llama.cpp opens the first and finds the
 * rest.
 */
export function partsOf(file: HubFile): readonly HubFile[] {
  const [, stem, count] = /^(.*)-00001-of-(\d{5})\.gguf$/.exec(file.file) ?? [];
  if (stem === undefined || count === undefined) return [file];
  return Array.from({ length: Number(count) }, (_, at) => ({
    ...file,
    file: `${stem}-${String(at + 1).padStart(5, '0')}-of-${count}.gguf`,
  }));
}

export interface ResolveSettings {
  readonly model: string;
  readonly modelsDir: string;
  readonly env: NodeJS.ProcessEnv;
  readonly signal: AbortSignal;
}

/** Generates or downloads what is missing. Throws `WrongModel` or the download's own error. */
export async function resolveModel(settings: ResolveSettings, log: Log): Promise<ResolvedModel> {
  const { model, modelsDir } = settings;
  if (model === 'tiny') {
    const tiny = await ensureTiny(modelsDir);
    const verb = tiny.built ? 'generated' : 'found';
    log({ event: 'generate', message: `${verb} the toy model at ${tiny.path}`, path: tiny.path });
    log({
      event: 'note',
      message:
        '"tiny" is a TOY: its weights are random and it emits nonsense. For a real model use --model ' +
        'path/to/model.gguf or --model hf:owner/repo/file.gguf.',
    });
    return { path: tiny.path, name: 'tiny', toy: true };
  }
  const name = path.basename(model, '.gguf');
  if (model.startsWith('hf:')) {
    const file = parseHubName(model);
    const targetOf = (part: HubFile): string => path.join(modelsDir, 'hf', part.owner, part.repo, part.file);
    for (const part of partsOf(file))
      await download({
        file: part,
        target: targetOf(part),
        endpoint: settings.env.HF_ENDPOINT || 'https://huggingface.co',
        token: settings.env.HF_TOKEN || undefined,
        signal: settings.signal,
        log,
      });
    return { path: targetOf(file), name, toy: false };
  }
  const found = await stat(model).catch(() => undefined);
  if (!found?.isFile()) {
    throw new WrongModel(
      `There is no file "${model}". --model takes "tiny", the path of a .gguf file, ` +
        'or hf:owner/repo/file.gguf.',
    );
  }
  if ((await beginningOf(model)) !== 'GGUF') {
    throw new WrongModel(`"${model}" is not a GGUF file: it does not begin with "GGUF".`);
  }
  return { path: path.resolve(model), name, toy: false };
}

async function beginningOf(file: string): Promise<string> {
  const handle = await open(file);
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(4), 0, 4, 0);
    return buffer.toString('latin1', 0, bytesRead);
  } finally {
    await handle.close();
  }
}
