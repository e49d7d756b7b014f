/**
 * Foreign functions: C libraries called in place, with memory that both sides see.
 *
 * Two rules keep this safe. A library handle is never collected: koffi unloads a library whose handle
 * is, under the feet of whoever still calls it. And an address is only a number: whoever hands one to C
 * keeps the typed array it came from referenced for as long as C may use it.
 */
import koffi from 'koffi'

/** An address in this process; 0n is NULL. */
export type Pointer = bigint

type Library = ReturnType<typeof koffi.load>

const libraries = new Map<string, Library>()

/**
 * koffi runs the callee on stacks of its own. The default of 128 KiB for asynchronous calls is near the
 * 70 KiB of panels that one matrix product keeps on the stack, too near for graph transformations.
 */
const STACK_BYTES = 4 * 1024 * 1024
let configured = false

/** Loads a shared library once for the process. @throws what the system's loader says. */
export function loadLibrary(path: string): Library {
  let library = libraries.get(path)
  if (!library) {
    if (!configured) koffi.config({ sync_stack_size: STACK_BYTES, async_stack_size: STACK_BYTES })
    configured = true
    library = koffi.load(path)
    libraries.set(path, library)
  }
  return library
}

const somewhere = new Uint8Array(8)

/**
 * Where an array's elements lie, in ordinary or shared memory, at any offset. An empty array has an
 * address too (C libraries refuse NULL), which nobody may read.
 */
export function addressOf(array: NodeJS.ArrayBufferView): Pointer {
  return koffi.address(array.byteLength === 0 ? somewhere : array)
}

/** A C array of strings: `address` of the pointers, and what must stay referenced while C reads them. */
export interface Strings {
  readonly address: Pointer
  readonly memory: readonly NodeJS.ArrayBufferView[]
}

/** NUL-terminated UTF-8 strings laid out as `const char* const*`. */
export function stringArray(strings: readonly string[]): Strings {
  const bytes = strings.map((text) => new TextEncoder().encode(`${text}\0`))
  const pointers = new BigUint64Array(bytes.map(addressOf))
  return { address: addressOf(pointers), memory: [pointers, ...bytes] }
}
