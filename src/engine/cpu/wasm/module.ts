/**
 * The compiled WASM kernels of the build, and their functions by caller. Instantiating checks that no function is
 * missing.
 */
import { readFile } from 'node:fs/promises'
import { packageFile } from '../../../core/package-file.ts'
import type { SharedMemory } from '../../contract/arena.ts'
import { RuntimeError } from '../../contract/runtime.ts'

/** Functions that op kernels call (assembly/attention.ts, rows.ts, token.ts, exponential.ts, bf16.ts, int8.ts, int4.ts). */
const opFunctionNames = [
  'add',
  'addTimes',
  'bf16Expand',
  'bf16Pack',
  'bf16Times',
  'cachedScores',
  'cachedValues',
  'clearAfter',
  'clearBefore',
  'combineRows',
  'gatherGatedRows',
  'gatherRows',
  'geluParts',
  'headDots',
  'int4Expand',
  'int4Pack',
  'int4Sums',
  'int4Times',
  'int8Expand',
  'int8Pack',
  'int8Times',
  'logSums',
  'maskAbove',
  'maskBefore',
  'raiseLow',
  'rmsNorm',
  'rmsNormGradient',
  'rotateHeads',
  'roundRow',
  'routeRows',
  'routeRowsGradient',
  'rowDots',
  'rowLargest',
  'rowsTimes',
  'rowTimesTransposed',
  'scaleHeads',
  'softmaxRow',
  'swishParts',
] as const

/** Functions that arena kernels call (assembly/adamw.ts, compact-adamw.ts, adafactor.ts, sums.ts). */
const arenaFunctionNames = [
  'adafactorDirection',
  'adafactorFactors',
  'adafactorMatrices',
  'adafactorSquares',
  'adafactorUpdate',
  'adafactorVectors',
  'adamw',
  'adamwBf16',
  'adamwInt8',
  'add',
  'scatterAddRows',
  'sumOfSquares',
] as const

/** Functions by name. Their arguments are byte offsets in the memory, and numbers. */
type Functions<Name extends string, Result> = Readonly<Record<Name, (...args: number[]) => Result>>

export type OpFunctions = Functions<(typeof opFunctionNames)[number], void>
export type ArenaFunctions = Functions<(typeof arenaFunctionNames)[number], number | undefined>

/** The part of `WebAssembly` that we use (TypeScript declares it for browsers only). */
declare const WebAssembly: {
  compile(bytes: Uint8Array): Promise<unknown>
  Instance: new (module: unknown, imports: { env: { memory: SharedMemory } }) => { readonly exports: object }
}

let compiled: Promise<unknown> | undefined

/** The WASM module, which is compiled once. @throws RuntimeError if the kernels have not been built. */
export function kernelModule(): Promise<unknown> {
  compiled ??= compile()
  return compiled
}

async function compile(): Promise<unknown> {
  const path = packageFile('dist/engine/cpu/wasm/kernels.wasm')
  const bytes = await readFile(path).catch((error: Error) => {
    throw new RuntimeError(`cannot read the kernels: ${error.message} (in a clone, run: npm run build)`)
  })
  return WebAssembly.compile(bytes)
}

export const opFunctions = (module: unknown, memory: SharedMemory): OpFunctions =>
  instantiate(module, memory, opFunctionNames)

export const arenaFunctions = (module: unknown, memory: SharedMemory): ArenaFunctions =>
  instantiate(module, memory, arenaFunctionNames)

function instantiate<Exports extends object>(
  module: unknown,
  memory: SharedMemory,
  names: readonly (string & keyof Exports)[],
): Exports {
  const { exports } = new WebAssembly.Instance(module, { env: { memory } })
  const missing = names.filter((name) => !(name in exports))
  if (missing.length > 0)
    throw new RuntimeError(`internal: the compiled kernels have no ${missing.join(', ')} (run: npm run build)`)
  return exports as Exports
}
