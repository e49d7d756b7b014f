/** The compiled WASM kernels, from the build. */
import { readFile } from 'node:fs/promises'
import { RuntimeError } from '../contract.ts'

/** The part of `WebAssembly` that we use (TypeScript declares it for browsers only). */
declare const WebAssembly: { compile(bytes: Uint8Array): Promise<unknown> }

/** @throws RuntimeError if the kernels have not been built. */
export async function kernelModule(): Promise<unknown> {
  const path = new URL('../../../dist/runtime/wasm/kernels.wasm', import.meta.url)
  const bytes = await readFile(path).catch((error: Error) => {
    throw new RuntimeError(`cannot read the kernels: ${error.message} (in a clone, run: npm run build)`)
  })
  return WebAssembly.compile(bytes)
}
