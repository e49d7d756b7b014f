/** Compiles a serialised model into a session of ONNX Runtime. */
import { join } from 'node:path'
import type { Model } from '../../../core/graph/model.ts'
import { RuntimeError } from '../../contract/runtime.ts'
import { addressOf, Out, type Pointer } from '../../native/ffi.ts'
import { type Environment, LOG_SEVERITY, sharesArena } from './environment.ts'
import { expectSuccess, takeFailure, toRuntimeError } from './errors.ts'
import { createProfileFolder, removeProfileFolder } from './profile.ts'
import { Session } from './session.ts'

const ALL_OPTIMIZATIONS = 99

/** Compiles a model. @throws RuntimeError with the op and layer at fault */
export async function compileSession(
  environment: Environment,
  model: Model,
  {
    threads,
    profile,
    onFreed,
  }: { readonly threads: number; readonly profile: boolean; onFreed(session: Session): void },
): Promise<Session> {
  const profileFolder = profile ? createProfileFolder() : undefined
  try {
    const pointer = await createSession(environment, model, threads, profileFolder)
    const session: Session = new Session({
      environment,
      session: pointer,
      model,
      profileFolder,
      onFreed: () => onFreed(session),
    })
    return session
  } catch (error) {
    if (profileFolder !== undefined) removeProfileFolder(profileFolder)
    throw error
  }
}

/** An OrtSession. @throws RuntimeError with the op and layer at fault. */
async function createSession(
  environment: Environment,
  model: Model,
  threads: number,
  profileFolder: string | undefined,
): Promise<Pointer> {
  const { api, env } = environment
  const out = new Out()
  const options = createOptions(environment, threads, profileFolder)
  try {
    const { bytes } = model
    const status = await new Promise<Pointer | null>((resolve, reject) => {
      const settle = (error: unknown, result: Pointer | null) => {
        if (error) reject(new RuntimeError(`internal: foreign call failed: ${error}`))
        else resolve(result)
      }
      api.CreateSessionFromArray.async(env, addressOf(bytes), bytes.byteLength, options, out.address, settle)
    })
    const failure = takeFailure(api, status)
    if (failure) throw toRuntimeError(failure, model.origins, 'compile')
    return out.value
  } finally {
    api.ReleaseSessionOptions(options)
  }
}

/** An OrtSession for the calling thread alone, created at once. */
export function createSessionNow(environment: Environment, { bytes }: Model): Pointer {
  const { api, env } = environment
  const out = new Out()
  const options = createOptions(environment, 1)
  try {
    expectSuccess(api, api.CreateSessionFromArray(env, addressOf(bytes), bytes.byteLength, options, out.address))
    return out.value
  } finally {
    api.ReleaseSessionOptions(options)
  }
}

/** OrtSessionOptions, which the caller releases. */
function createOptions({ api }: Environment, threads: number, profileFolder?: string): Pointer {
  const out = new Out()
  expectSuccess(api, api.CreateSessionOptions(out.address))
  const options = out.value
  const config = (key: string, value: string) => expectSuccess(api, api.AddSessionConfigEntry(options, key, value))
  try {
    expectSuccess(api, api.SetSessionLogSeverityLevel(options, LOG_SEVERITY))
    expectSuccess(api, api.SetSessionGraphOptimizationLevel(options, ALL_OPTIMIZATIONS))
    expectSuccess(api, api.SetIntraOpNumThreads(options, threads))
    expectSuccess(api, api.SetInterOpNumThreads(options, 1))
    // Memory patterns plan one block for all intermediate results, again for each set of shapes, which is slower.
    expectSuccess(api, api.DisableMemPattern(options))
    // Spinning idle threads would take cores from other programs, kernels and JavaScript.
    config('session.force_spinning_stop', '1')
    config('session.use_env_allocators', sharesArena ? '1' : '0')
    if (profileFolder !== undefined)
      expectSuccess(api, api.EnableProfiling(options, join(profileFolder, 'onnxruntime')))
    return options
  } catch (error) {
    api.ReleaseSessionOptions(options)
    throw error
  }
}
