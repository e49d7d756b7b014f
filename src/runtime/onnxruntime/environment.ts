/**
 * What all sessions of a process share: ONNX Runtime's environment and one memory arena.
 *
 * The environment is made once and never released (it owns the logger that late errors need). The
 * arena holds the intermediate tensors of every session, so that a gradient program and an update
 * program, which never run at once, use the same memory. It never shrinks; it lives from the first open
 * runtime to the last, so that a process which trains model after model gives memory back in between.
 */
import { RuntimeError } from '../contract.ts'
import type { Pointer } from '../ffi.ts'
import { type OrtApi, Out, openApi } from './api.ts'
import { expectSuccess, takeFailure } from './errors.ts'
import { libraryPath } from './library.ts'

/** Fatal: errors come back as a status, and are told once, by us. */
export const LOG_SEVERITY = 4
const ARENA_ALLOCATOR = 1
const DEVICE_ALLOCATOR = 0
const DEFAULT_MEMORY = 0
/** Extend by what is asked; the default doubles, and a large model then holds twice what it needs. */
const SAME_AS_REQUESTED = 1

export interface Environment {
  readonly api: OrtApi
  readonly env: Pointer
  /** Describes memory that is not ONNX Runtime's. */
  readonly userMemory: Pointer
  readonly arenaMemory: Pointer
}

let environment: Environment | undefined
let runtimes = 0

/** Opens the library on first use, and the arena when no other runtime has. Pair with {@link leave}. */
export function enter(): Environment {
  environment ??= create()
  if (runtimes === 0) openArena(environment)
  runtimes++
  return environment
}

/** A runtime has released all its sessions. */
export function leave(): void {
  runtimes--
  if (runtimes > 0 || !environment) return
  const { api, env, arenaMemory } = environment
  expectSuccess(api, api.UnregisterAllocator(env, arenaMemory))
}

function create(): Environment {
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

function openArena({ api, env, arenaMemory }: Environment): void {
  const out = new Out()
  const unlimited = 0
  const byDefault = -1
  expectSuccess(api, api.CreateArenaCfg(unlimited, SAME_AS_REQUESTED, byDefault, byDefault, out.address))
  try {
    expectSuccess(api, api.CreateAndRegisterAllocator(env, arenaMemory, out.value))
  } finally {
    api.ReleaseArenaCfg(out.value)
  }
}
