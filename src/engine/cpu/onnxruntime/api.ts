/**
 * ONNX Runtime's C API as JavaScript functions.
 *
 * The library exports one symbol, `OrtGetApiBase`; everything else is in a struct of function pointers,
 * `OrtApi`, which only ever grows at its end. So a function is identified by its index in the struct, and an
 * index from an old header is valid for every newer library. The indices below were parsed from
 * `onnxruntime_c_api.h` 1.21 (API version 21), and agree with ONNX Runtime's own assertions (index 101 is
 * ReleaseCustomOpDomain, 118 is ReleaseModelMetadata). Requesting version 21 guarantees that layout.
 */

import { RuntimeError } from '../../contract/runtime.ts'
import type { Pointer } from '../../native/ffi.ts'
import { koffi } from '../../native/koffi.ts'
import { openLibrary } from './library.ts'

const API_VERSION = 21
/** The release that the tests ran with; package.json pins it. */
const testedVersion = '1.30'

/** Handles and addresses are pointers; `0n` is NULL. A status of NULL is success. */
type Status = Pointer | null
type Async<F extends (...args: never[]) => unknown> = F & {
  async(...args: [...Parameters<F>, (error: unknown, result: ReturnType<F>) => void]): void
}

export interface OrtApi {
  /** Version of the library, such as `1.30.0`. */
  readonly version: string
  /** Address of `Run`, for threads that call it themselves. */
  readonly runAddress: Pointer
  GetErrorCode(status: Pointer): number
  GetErrorMessage(status: Pointer): string
  ReleaseStatus(status: Pointer): void
  CreateEnv(severity: number, id: string, out: Pointer): Status
  DisableTelemetryEvents(env: Pointer): Status
  CreateCpuMemoryInfo(allocator: number, memory: number, out: Pointer): Status
  CreateArenaCfg(maximum: number, strategy: number, initialBytes: number, deadBytes: number, out: Pointer): Status
  ReleaseArenaCfg(config: Pointer): void
  CreateAndRegisterAllocator(env: Pointer, memory: Pointer, arena: Pointer): Status
  UnregisterAllocator(env: Pointer, memory: Pointer): Status
  CreateSessionOptions(out: Pointer): Status
  ReleaseSessionOptions(options: Pointer): void
  EnableProfiling(options: Pointer, prefix: string): Status
  DisableMemPattern(options: Pointer): Status
  SetSessionLogSeverityLevel(options: Pointer, severity: number): Status
  SetSessionGraphOptimizationLevel(options: Pointer, level: number): Status
  SetIntraOpNumThreads(options: Pointer, threads: number): Status
  SetInterOpNumThreads(options: Pointer, threads: number): Status
  AddSessionConfigEntry(options: Pointer, key: string, value: string): Status
  readonly CreateSessionFromArray: Async<
    (env: Pointer, model: Pointer, bytes: number, options: Pointer, out: Pointer) => Status
  >
  ReleaseSession(session: Pointer): void
  CreateTensorWithDataAsOrtValue(
    memory: Pointer,
    data: Pointer,
    bytes: number,
    shape: Pointer,
    rank: number,
    type: number,
    out: Pointer,
  ): Status
  ReleaseValue(value: Pointer): void
  readonly Run: Async<
    (
      session: Pointer,
      options: null,
      inputNames: Pointer,
      inputs: Pointer,
      inputCount: number,
      outputNames: Pointer,
      outputCount: number,
      outputs: Pointer,
    ) => Status
  >
  GetAllocatorWithDefaultOptions(out: Pointer): Status
  AllocatorFree(allocator: Pointer, memory: Pointer): Status
  SessionEndProfiling(session: Pointer, allocator: Pointer, out: Pointer): Status
}

const p = 'void *'
/** The type of paths, ORTCHAR_T. */
const path = process.platform === 'win32' ? 'str16' : 'str'

/** Each function's index in OrtApi, the type of its result, and the types of its parameters. */
const functions: Readonly<
  Record<Exclude<keyof OrtApi, 'version' | 'runAddress'>, readonly [number, string, readonly string[]]>
> = {
  GetErrorCode: [1, 'int', [p]],
  GetErrorMessage: [2, 'str', [p]],
  CreateEnv: [3, p, ['int', 'str', p]],
  DisableTelemetryEvents: [6, p, [p]],
  CreateSessionFromArray: [8, p, [p, p, 'size_t', p, p]],
  Run: [9, p, [p, p, p, p, 'size_t', p, 'size_t', p]],
  CreateSessionOptions: [10, p, [p]],
  EnableProfiling: [14, p, [p, path]],
  DisableMemPattern: [17, p, [p]],
  SetSessionLogSeverityLevel: [22, p, [p, 'int']],
  SetSessionGraphOptimizationLevel: [23, p, [p, 'int']],
  SetIntraOpNumThreads: [24, p, [p, 'int']],
  SetInterOpNumThreads: [25, p, [p, 'int']],
  CreateTensorWithDataAsOrtValue: [49, p, [p, p, 'size_t', p, 'size_t', 'int', p]],
  CreateCpuMemoryInfo: [69, p, ['int', 'int', p]],
  AllocatorFree: [76, p, [p, p]],
  GetAllocatorWithDefaultOptions: [78, p, [p]],
  ReleaseStatus: [93, 'void', [p]],
  ReleaseSession: [95, 'void', [p]],
  ReleaseValue: [96, 'void', [p]],
  ReleaseSessionOptions: [100, 'void', [p]],
  SessionEndProfiling: [110, p, [p, p, p]],
  AddSessionConfigEntry: [130, p, [p, 'str', 'str']],
  CreateAndRegisterAllocator: [144, p, [p, p, p]],
  CreateArenaCfg: [156, p, ['size_t', 'int', 'int', 'int', p]],
  ReleaseArenaCfg: [157, 'void', [p]],
  UnregisterAllocator: [177, p, [p, p]],
}

const POINTER_BYTES = 8

/** The API of the library at `file`. @throws RuntimeError if it is not a usable ONNX Runtime. */
export function openApi(file: string): OrtApi {
  const library = openLibrary(file)
  // biome-ignore lint/suspicious/noExplicitAny: the type of a foreign function is what we declare
  const asFunction = (address: Pointer, result: string, parameters: readonly string[]): any =>
    koffi.decode(address, koffi.proto(result, [...parameters]))
  const pointerAt = (address: Pointer, index: number): Pointer =>
    BigInt(koffi.decode.uint64(address + BigInt(index * POINTER_BYTES)))

  let base: Pointer
  try {
    base = library.func('OrtGetApiBase', p, [])()
  } catch {
    throw new RuntimeError(`not ONNX Runtime: ${file} (reinstall with "npm ci")`)
  }
  // struct OrtApiBase { const OrtApi* (*GetApi)(uint32_t); const char* (*GetVersionString)(void); }
  const version: string = asFunction(pointerAt(base, 1), 'str', [])()
  const api: Pointer | null = version.startsWith(`${testedVersion}.`)
    ? asFunction(pointerAt(base, 0), p, ['uint32'])(API_VERSION)
    : null
  if (!api)
    throw new RuntimeError(
      `unsupported ONNX Runtime ${version}: ${file} (expected ${testedVersion}; reinstall with "npm ci")`,
    )
  const entries = Object.entries(functions).map(([name, [index, result, parameters]]) => [
    name,
    asFunction(pointerAt(api, index), result, parameters),
  ])
  return { version, runAddress: pointerAt(api, functions.Run[0]), ...Object.fromEntries(entries) }
}
