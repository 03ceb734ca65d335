/** The disk and the TOML parser of this room, for what reads configuration files. */
import fs from 'node:fs';
import type { ConfigHost } from '@cognitora/protocol/config/config-file';
import * as toml from 'smol-toml';

export const configHost: ConfigHost = { disk: fs, toml };
