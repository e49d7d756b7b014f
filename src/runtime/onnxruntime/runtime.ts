/** ONNX Runtime as a {@link Runtime}: compiles models into sessions and remembers them until closed. */
import { join } from 'node:path'
import { UsageError } from '../../errors.ts'
import type { Model } from '../../graph/model.ts'
import { type Executable, type Runtime, RuntimeError, type RuntimeOptions } from '../contract.ts'
import { physicalCores } from '../cores.ts'
import { addressOf, type Pointer } from '../ffi.ts'
import { Out } from './api.ts'
import { type Environment, enter, leave, logSeverity } from './environment.ts'
import { expectSuccess, explain, takeFailure } from './errors.ts'
import { createProfileFolder, removeProfileFolder } from './profile.ts'
import { Session } from './session.ts'

const allOptimizations = 99

/**
 * The native runtime.
 * @throws UsageError for an impossible option; RuntimeError when the library is missing or unusable.
 */
export async function createRuntime(options: RuntimeOptions = {}): Promise<Runtime> {
  const { threads = physicalCores(), device = 'cpu', profile = false } = options
  if (!Number.isInteger(threads) || threads < 1)
    throw new UsageError(`invalid threads: ${threads} (expected a whole number of at least 1)`)
  if (device !== 'cpu') throw new UsageError(`invalid device: ${device} (expected cpu)`)
  return new OnnxRuntime(enter(), threads, profile)
}

class OnnxRuntime implements Runtime {
  readonly name = 'onnxruntime'
  readonly version: string
  readonly threads: number
  readonly #environment: Environment
  readonly #profile: boolean
  readonly #sessions = new Set<Session>()
  readonly #compiling = new Set<Promise<unknown>>()
  #closed: Promise<void> | undefined
  #whenEmpty: (() => void) | undefined

  constructor(environment: Environment, threads: number, profile: boolean) {
    this.version = environment.api.version
    this.threads = threads
    this.#environment = environment
    this.#profile = profile
  }

  async compile(model: Model): Promise<Executable> {
    if (this.#closed) throw new RuntimeError('internal: this runtime has been closed')
    const compiling = this.#compile(model)
    this.#compiling.add(compiling)
    try {
      return await compiling
    } finally {
      this.#compiling.delete(compiling)
    }
  }

  async #compile(model: Model): Promise<Executable> {
    const profileFolder = this.#profile ? createProfileFolder() : undefined
    try {
      const session = await createSession(this.#environment, model, this.threads, profileFolder)
      const executable: Session = new Session({
        environment: this.#environment,
        session,
        model,
        profileFolder,
        onGone: () => {
          this.#sessions.delete(executable)
          if (this.#sessions.size === 0) this.#whenEmpty?.()
        },
      })
      this.#sessions.add(executable)
      return executable
    } catch (error) {
      if (profileFolder !== undefined) removeProfileFolder(profileFolder)
      throw error
    }
  }

  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  async #close(): Promise<void> {
    await Promise.allSettled(this.#compiling)
    const empty = new Promise<void>((resolve) => {
      this.#whenEmpty = resolve
    })
    if (this.#sessions.size === 0) this.#whenEmpty?.()
    for (const session of this.#sessions) session.release()
    await empty
    leave()
  }
}

/** An OrtSession. @throws RuntimeError with the op and layer at fault. */
async function createSession(
  { api, env }: Environment,
  model: Model,
  threads: number,
  profileFolder: string | undefined,
): Promise<Pointer> {
  const out = new Out()
  expectSuccess(api, api.CreateSessionOptions(out.address))
  const options = out.value
  const config = (key: string, value: string) => expectSuccess(api, api.AddSessionConfigEntry(options, key, value))
  try {
    expectSuccess(api, api.SetSessionLogSeverityLevel(options, logSeverity))
    expectSuccess(api, api.SetSessionGraphOptimizationLevel(options, allOptimizations))
    expectSuccess(api, api.SetIntraOpNumThreads(options, threads))
    expectSuccess(api, api.SetInterOpNumThreads(options, 1))
    // A pattern is one block for all intermediates, planned anew for each set of shapes: slower here.
    expectSuccess(api, api.DisableMemPattern(options))
    // Idle threads that spin would take the cores from other programs, kernels and JavaScript.
    config('session.force_spinning_stop', '1')
    config('session.use_env_allocators', '1')
    if (profileFolder !== undefined)
      expectSuccess(api, api.EnableProfiling(options, join(profileFolder, 'onnxruntime')))
    const status = await new Promise<Pointer | null>((resolve, reject) => {
      const { bytes } = model
      api.CreateSessionFromArray.async(
        env,
        addressOf(bytes),
        bytes.byteLength,
        options,
        out.address,
        (error, result) => {
          if (error) reject(new RuntimeError(`internal: foreign call failed: ${error}`))
          else resolve(result)
        },
      )
    })
    const failure = takeFailure(api, status)
    if (failure) throw explain(failure, model.origins, 'compile')
    return out.value
  } finally {
    api.ReleaseSessionOptions(options)
  }
}
