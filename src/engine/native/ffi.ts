/**
 * Foreign functions: C libraries are called in place, on shared memory.
 *
 * Two rules keep this safe. Library handles are never collected, because koffi unloads a library when its
 * handle is collected, even while other threads still call it. And an address is only a number: the caller that
 * passes an address to C keeps the typed array referenced for as long as C may use it. A local variable that is not
 * read again does not count: the collector may free its array while the arguments of the very call are converted.
 */
import { koffi } from './koffi.ts'

/** An address in this process; 0n is NULL. */
export type Pointer = bigint

type Library = ReturnType<typeof koffi.load>

const libraries = new Map<string | null, Library>()

/**
 * koffi runs callees on its own stacks. The default of 128 KiB for asynchronous calls is close to the 70 KiB
 * that one matrix product keeps on the stack, and too small for graph transformations.
 */
const STACK_BYTES = 4 * 1024 * 1024
let configured = false

/**
 * Loads a shared library once per thread of JavaScript.
 * @param path Path or name for the system's loader; null stands for the libraries that the process has loaded itself.
 * @throws the error of the system's loader
 */
export function loadLibrary(path: string | null): Library {
  let library = libraries.get(path)
  if (!library) {
    if (!configured) koffi.config({ sync_stack_size: STACK_BYTES, async_stack_size: STACK_BYTES })
    configured = true
    library = koffi.load(path)
    libraries.set(path, library)
  }
  return library
}

/**
 * The error code of the last call of the C library on this thread, and the code of a lock that another process holds.
 */
export const errno = (): number => koffi.errno()
export const WOULD_BLOCK = koffi.os.errno.EWOULDBLOCK

const placeholder = new Uint8Array(8)

/**
 * The address of an array's elements, in ordinary or shared memory, at any offset. An empty array gets a
 * valid address too, because C libraries refuse NULL; it must not be read.
 */
export function addressOf(array: NodeJS.ArrayBufferView): Pointer {
  return koffi.address(array.byteLength === 0 ? placeholder : array)
}

const kept: { arrays: readonly NodeJS.ArrayBufferView[] } = { arrays: [] }

/** Keeps arrays referenced until here: call it after the C function that got their addresses, as its last reader. */
export function keepUntilHere(...arrays: readonly NodeJS.ArrayBufferView[]): void {
  kept.arrays = arrays
}

/** A C array of strings: the address of the pointers, and the memory to keep referenced while C reads it. */
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

/** Memory to which a function writes one pointer or size. */
export class Out {
  private readonly cell = new BigUint64Array(1)
  readonly address: Pointer = addressOf(this.cell)
  get value(): Pointer {
    return this.cell[0] as bigint
  }
}
