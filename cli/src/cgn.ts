#!/usr/bin/env node
/**
 * Where `cgn` begins: `main.ts` picks the command. Before that, Node is told to keep the compiled code of this program
 * and of those that it starts (NODE_COMPILE_CACHE, else the user's cache): a command then takes half the time.
 */
import { enableCompileCache } from 'node:module';
import { join } from 'node:path';

const { HOME, XDG_CACHE_HOME = HOME && join(HOME, '.cache') } = process.env;
if (XDG_CACHE_HOME) process.env.NODE_COMPILE_CACHE ??= join(XDG_CACHE_HOME, 'cognitora', 'compiled');
// Where that cannot be written it goes without.
if (process.env.NODE_COMPILE_CACHE) enableCompileCache(process.env.NODE_COMPILE_CACHE);
await import('./main.ts');
