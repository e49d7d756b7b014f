/**
 * llama.cpp as the peer of a benchmark: a child process that loads a GGUF file with the package node-llama-cpp, which has
 * a built llama.cpp, and generates on command. The package is no dependency of Choir. To measure with it, install it into
 * a folder of its own, and name the folder in the environment variable CHOIR_LLAMA_CPP.
 */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { RunError } from '../../src/core/errors.ts'
import { type Generated, GenerationProcess, type GeneratorInfo } from '../support/generation-process.ts'

/** Milliseconds by llama.cpp's own clock: without sampling and without JavaScript. */
export interface OwnTimes {
  /** Time of the prompt. */
  readonly prefillMs: number
  /** Time of all tokens after the first. */
  readonly tokensMs: number
}

/** What llama.cpp reports about itself, besides what every program reports. */
export interface LlamaCppInfo extends GeneratorInfo {
  /** Version of node-llama-cpp. */
  readonly package: string
  /** Release of llama.cpp in it. */
  readonly release: string
  /** Name of the library of kernels for this processor; null outside Linux. */
  readonly kernels: string | null
}

const VERSION = '3.22.1'
const VARIABLE = 'CHOIR_LLAMA_CPP'

/** The folder with node-llama-cpp. @throws RunError with the commands that install it */
export function findLlamaCpp(folder = process.env[VARIABLE]): string {
  if (folder !== undefined && existsSync(join(folder, 'node_modules/node-llama-cpp/package.json'))) return folder
  throw new RunError(
    `llama.cpp was not found: ${folder === undefined ? `${VARIABLE} is not set` : `${folder} has no node_modules/node-llama-cpp`} ` +
      `(install it into a folder of its own with npm install --prefix DIR --ignore-scripts node-llama-cpp@${VERSION}, and set ${VARIABLE}=DIR)`,
  )
}

/** Starts llama.cpp with a GGUF file. @throws RunError if the package is missing or the file cannot be loaded */
export function startLlamaCpp(
  file: string,
  {
    threads,
    sequence,
    streams = 1,
  }: { readonly threads: number; readonly sequence: number; readonly streams?: number },
): Promise<GenerationProcess<LlamaCppInfo, Generated & { readonly own: OwnTimes }>> {
  const script = fileURLToPath(new URL('./llama-cpp-generate.mjs', import.meta.url))
  return GenerationProcess.start('llama.cpp', [
    script,
    findLlamaCpp(),
    file,
    String(threads),
    String(sequence),
    String(streams),
  ])
}
