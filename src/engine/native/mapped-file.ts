/**
 * Files mapped into arenas: their pages are those of the system's file cache. So gigabytes of weights are in place at
 * once, several processes share them, and a page is read when it is first used. It needs `mmap` of the C library (Linux
 * with glibc, macOS); elsewhere nothing is mapped, and callers read the file instead.
 *
 * A mapping is private: what is written to the memory never reaches the file. But if somebody shortens the file, the
 * process ends with SIGBUS when it reads a page that is gone. Therefore callers map only files that nobody else may
 * change.
 */
import type { HostMemory } from '../contract/arena.ts'
import { addressOf, loadLibrary, type Pointer } from './ffi.ts'

/** Unit of mappings: the pages of WebAssembly, a multiple of the pages of every system (4, 16 or 64 KiB). */
const UNIT_BYTES = 65536

/** Constants that Linux and macOS have in common. */
const PROT_READ_WRITE = 3
const MAP_PRIVATE_FIXED = 0x12

type Map = (address: Pointer, bytes: number, protection: number, flags: number, file: number, offset: number) => unknown
let map: Map | null | undefined

/**
 * Maps the beginning of a file over the beginning of a memory, in place of what was there.
 * @param file Descriptor of an open file, which may be closed afterwards.
 * @param bytes Size of the file, at most that of the memory.
 * @returns the bytes that are mapped: a multiple of 64 KiB, 0 if the system maps nothing; the caller reads the rest
 */
export function mapFile({ buffer }: HostMemory, file: number, bytes: number): number {
  if (map === undefined) map = findMap()
  const whole = Math.floor(Math.min(bytes, buffer.byteLength) / UNIT_BYTES) * UNIT_BYTES
  if (map === null || whole === 0) return 0
  const address = addressOf(new Uint8Array(buffer))
  // A mapping that failed has left the memory as it was.
  return map(address, whole, PROT_READ_WRITE, MAP_PRIVATE_FIXED, file, 0) === address ? whole : 0
}

function findMap(): Map | null {
  const library = { linux: 'libc.so.6', darwin: 'libSystem.B.dylib' }[process.platform as string]
  if (library === undefined) return null
  try {
    const mmap = loadLibrary(library).func('mmap', 'uintptr_t', ['uintptr_t', 'size_t', 'int', 'int', 'int', 'int64'])
    return (...values) => BigInt(mmap(...values) as number | bigint)
  } catch {
    return null // another C library
  }
}
