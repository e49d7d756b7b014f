/**
 * ONNX Runtime's environment and one memory arena, shared by all sessions of a process.
 *
 * The environment is created once and never released (it owns the logger that late errors need). The
 * arena holds the intermediate tensors of all sessions, so programs that never run at the same time use
 * the same memory. It never shrinks. It exists while a runtime is open, so a process that trains one model
 * after another frees memory in between.
 *
 * The process has one environment, but each thread of JavaScript has its own modules, and so its own count of runtimes.
 * Only the main thread registers the arena: if others did too, each would replace the arena of the others, and release
 * it while they use it. In other threads every session has memory of its own.
 */
import { isMainThread } from 'node:worker_threads'
import { RuntimeError } from '../../contract/runtime.ts'
import { loadLibrary, Out, type Pointer } from '../../native/ffi.ts'
import { type OrtApi, openApi } from './api.ts'
import { expectSuccess, takeFailure } from './errors.ts'
import { libraryPath } from './library.ts'

/** The severity `fatal`. Lesser errors are returned as a status, and we report them once. */
export const LOG_SEVERITY = 4
const ARENA_ALLOCATOR = 1
const DEVICE_ALLOCATOR = 0
const DEFAULT_MEMORY = 0
/**
 * The arena grows by the requested size. The default doubles it, so a large model would hold twice the memory it needs.
 */
const SAME_AS_REQUESTED = 1

export interface Environment {
  readonly api: OrtApi
  readonly env: Pointer
  /** The OrtMemoryInfo of memory that the caller owns. */
  readonly userMemory: Pointer
  /** The OrtMemoryInfo of memory in the arena. */
  readonly arenaMemory: Pointer
}

/** Whether sessions of this thread use the arena of the environment. */
export const sharesArena = isMainThread

let environment: Environment | undefined
let runtimes = 0

/** Loads the library on first use and opens the arena for the first runtime. Pair with {@link releaseEnvironment}. */
export function acquireEnvironment(): Environment {
  environment ??= create()
  if (sharesArena && runtimes === 0) openArena(environment)
  runtimes++
  return environment
}

/** Call after a runtime has released all its sessions. */
export function releaseEnvironment(): void {
  runtimes--
  if (!sharesArena || runtimes > 0 || !environment) return
  const { api, env, arenaMemory } = environment
  expectSuccess(api, api.UnregisterAllocator(env, arenaMemory))
}

function create(): Environment {
  disableTelemetry()
  const api = openApi(libraryPath())
  const out = new Out()
  const failure = takeFailure(api, api.CreateEnv(LOG_SEVERITY, 'choir', out.address))
  if (failure) throw new RuntimeError(`cannot start ONNX Runtime: ${failure.message}`)
  const env = out.value
  expectSuccess(api, api.DisableTelemetryEvents(env))
  expectSuccess(api, api.CreateCpuMemoryInfo(DEVICE_ALLOCATOR, DEFAULT_MEMORY, out.address))
  const userMemory = out.value
  expectSuccess(api, api.CreateCpuMemoryInfo(ARENA_ALLOCATOR, DEFAULT_MEMORY, out.address))
  return { api, env, userMemory, arenaMemory: out.value }
}

/**
 * Turns telemetry off. Called before the library starts, it ensures that nothing is uploaded, that no device identifier
 * or file is written, and that the command line is not searched with a recursive regular expression, which overflows
 * the stack if the line is long. It calls the C function, because `process.env` of a worker thread is a copy that C
 * code does not see. On Windows the library does none of this at its start, and `DisableTelemetryEvents` is enough.
 */
function disableTelemetry(): void {
  if (process.platform === 'win32') return
  const setenv = loadLibrary(null).func('int setenv(const char *name, const char *value, int overwrite)')
  setenv('ORT_DISABLE_TELEMETRY', '1', 1)
}

function openArena({ api, env, arenaMemory }: Environment): void {
  const out = new Out()
  const unlimited = 0
  const useDefault = -1
  expectSuccess(api, api.CreateArenaCfg(unlimited, SAME_AS_REQUESTED, useDefault, useDefault, out.address))
  try {
    expectSuccess(api, api.CreateAndRegisterAllocator(env, arenaMemory, out.value))
  } finally {
    api.ReleaseArenaCfg(out.value)
  }
}
