/**
 * Finds oneDNN, an optional system library (`libdnnl`): by the path in `CHOIR_DNNL`, or by name through the
 * system's loader. `CHOIR_DNNL=off` disables it.
 *
 * Only builds that compute on the calling thread are accepted, because our threads share the work themselves.
 */

import { UsageError } from '../../../../core/errors.ts'
import { loadLibrary } from '../../../native/ffi.ts'
import { koffi } from '../../../native/koffi.ts'

type Library = ReturnType<typeof loadLibrary>

export interface DnnlLibrary {
  /** Path or name for the system's loader, valid on every thread. */
  readonly path: string
  readonly version: string
  /** Whether the CPU multiplies bfloat16. */
  readonly bf16: boolean
  /** Whether the CPU multiplies bfloat16 with tiles (AMX). */
  readonly amx: boolean
}

/** The reason that there is no oneDNN. */
export interface DnnlMissing {
  readonly missing: string
}

const MIN_MINOR = 4
const namesOf: Partial<Record<NodeJS.Platform, readonly string[]>> = {
  linux: ['libdnnl.so.3', ...Array.from({ length: 12 }, (_, i) => `libdnnl.so.3.${15 - i}`), 'libdnnl.so'],
  darwin: ['libdnnl.3.dylib', 'libdnnl.dylib'],
  win32: ['dnnl.dll'],
}

const runtimes = { sequential: 1, openmp: 2 }
/** The flags of `dnnl_avx512_core_bf16`, which every later instruction set includes. */
const BF16_ISA = 0xe7
/** The flags of `dnnl_avx10_1_512_amx`, which every later instruction set includes. */
const AMX_ISA = 0xfef
const pointer = 'uintptr_t'

let found: DnnlLibrary | DnnlMissing | undefined

/** @throws UsageError if `CHOIR_DNNL` names an unusable library. */
export function findDnnl(): DnnlLibrary | DnnlMissing {
  found ??= search(process.env.CHOIR_DNNL)
  return found
}

function search(given: string | undefined): DnnlLibrary | DnnlMissing {
  if (given === 'off') return { missing: 'CHOIR_DNNL is off' }
  if (given) {
    const result = inspect(given)
    if ('missing' in result)
      throw new UsageError(`invalid CHOIR_DNNL: ${result.missing} (expected the path of libdnnl 3, or off)`)
    return result
  }
  let unusable: DnnlMissing | undefined
  for (const name of namesOf[process.platform] ?? []) {
    const result = inspect(name)
    if ('path' in result) return result
    if (!result.notFound) unusable = result
  }
  return unusable ?? { missing: 'libdnnl is not installed' }
}

function inspect(path: string): DnnlLibrary | (DnnlMissing & { notFound?: true }) {
  let library: Library
  try {
    library = openDnnl(path)
  } catch (error) {
    return { missing: `${path}: ${error instanceof Error ? error.message : error}`, notFound: true }
  }
  try {
    // struct { int major, minor, patch; const char* hash; unsigned cpu_runtime, gpu_runtime; }
    const version = BigInt(library.func('dnnl_version', pointer, [])())
    const [major, minor, patch] = [0, 4, 8].map((at) => koffi.decode.int32(version + BigInt(at)))
    const cpuRuntime = koffi.decode.int32(version + 24n)
    const text = `${major}.${minor}.${patch}`
    if (major !== 3 || (minor as number) < MIN_MINOR)
      return { missing: `${path} is oneDNN ${text} (expected 3.${MIN_MINOR} or later)` }
    if (cpuRuntime !== runtimes.openmp && cpuRuntime !== runtimes.sequential)
      return { missing: `${path} has its own thread pool (expected a build with OpenMP, or a sequential one)` }
    return { path, version: text, bf16: hasIsa(library, BF16_ISA), amx: hasIsa(library, AMX_ISA) }
  } catch (error) {
    return { missing: `${path} is not oneDNN (${error instanceof Error ? error.message : error})` }
  }
}

/** Whether the CPU multiplies bfloat16. */
export const multipliesBf16 = (library: Library): boolean => hasIsa(library, BF16_ISA)

function hasIsa(library: Library, flags: number): boolean {
  const isa: number = library.func('dnnl_get_effective_cpu_isa', 'int', [])()
  return (isa & flags) === flags
}

/** Loads the library for the calling thread and limits OpenMP to that one thread. */
export function openDnnl(path: string): Library {
  const library = loadLibrary(path)
  try {
    library.func('omp_set_num_threads', 'void', ['int'])(1)
  } catch {
    // A sequential build has no OpenMP.
  }
  return library
}
