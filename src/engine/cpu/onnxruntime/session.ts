/**
 * A session is a compiled model with its bindings.
 *
 * Names are prepared when the model is compiled, OrtValues and the array of their addresses when it is
 * bound. A run is then one foreign call with eight arguments.
 *
 * Memory that ONNX Runtime may still touch is never freed: a release during a run takes effect when the run
 * ends.
 */
import type { Model, Port } from '../../../core/graph/model.ts'
import { arraysOf, checkBuffers } from '../../contract/buffers.ts'
import { Lifetime } from '../../contract/lifetime.ts'
import { now, RunClock } from '../../contract/recording.ts'
import {
  type Binding,
  type Buffer,
  type Executable,
  type PortMemory,
  type RunReport,
  RuntimeError,
} from '../../contract/runtime.ts'
import type { NodeTime, StepEvent } from '../../contract/times.ts'
import { addressOf, type Pointer, type Strings, stringArray } from '../../native/ffi.ts'
import type { Environment } from './environment.ts'
import { takeFailure, toRuntimeError } from './errors.ts'
import { endProfile, type Recording, removeProfileFolder } from './profile.ts'
import { createValue } from './values.ts'

export interface SessionParts {
  readonly environment: Environment
  readonly session: Pointer
  readonly model: Model
  /** Folder that the recording is written to, if any. */
  readonly profileFolder: string | undefined
  /** Is called once, after the session is freed. */
  readonly onFreed: () => void
}

export class Session implements Executable {
  readonly model: Model
  private readonly parts: SessionParts
  private readonly inputNames: Strings
  private readonly outputNames: Strings
  private readonly bindings = new Set<SessionBinding>()
  private readonly lifetime: Lifetime
  private recording: Recording | undefined
  /** Times the runs of our bindings; a staged program times its own runs. */
  private readonly clock = new RunClock()
  private lastBegin = 0

  constructor(parts: SessionParts) {
    this.parts = parts
    this.model = parts.model
    this.inputNames = stringArray(parts.model.inputs.map((port) => port.name))
    this.outputNames = stringArray(parts.model.outputs.map((port) => port.name))
    this.lifetime = new Lifetime('executable', () => this.free())
  }

  bind(memory: Readonly<Record<string, PortMemory>>): SessionBinding {
    this.lifetime.expectUsable()
    const ports = [...this.model.inputs, ...this.model.outputs]
    checkBuffers(ports, memory)
    const { environment, session, model } = this.parts
    const binding: SessionBinding = new SessionBinding({
      environment,
      session,
      model,
      inputNames: this.inputNames,
      outputNames: this.outputNames,
      buffers: arraysOf(ports, memory),
      onRun: (begin, end) => {
        if (this.recording) return
        this.lastBegin = begin
        this.clock.add(end - begin)
      },
      onFreed: () => {
        this.bindings.delete(binding)
        this.lifetime.end()
      },
    })
    this.bindings.add(binding)
    this.lifetime.begin()
    return binding
  }

  profile(): readonly NodeTime[] {
    return this.clock.scale(this.allNodes())
  }

  /** Node times of all runs, also of runs in staged programs. The call ends the recording. */
  allNodes(): readonly NodeTime[] {
    if (this.recording) return this.recording.nodes
    this.lifetime.expectUsable()
    const { environment, session, model, profileFolder } = this.parts
    if (profileFolder === undefined)
      throw new RuntimeError('no profile was recorded: create the runtime with { profile: true }')
    this.recording = endProfile(environment.api, session, model.origins)
    return this.recording.nodes
  }

  resetProfile(): void {
    this.clock.reset()
  }

  /** The nodes of the last of `runs` runs, if it was recorded. Times are in ms from the start of the run. */
  lastNodes(runs: number): readonly StepEvent[] {
    return this.recording?.runs === runs ? this.recording.last : []
  }

  lastRun(): readonly StepEvent[] {
    const begin = this.lastBegin
    const nodes = this.lastNodes(this.clock.allRuns)
    return nodes.map((node) => ({ ...node, begin: begin + node.begin, end: begin + node.end }))
  }

  release(): void {
    for (const binding of this.bindings) binding.release()
    this.lifetime.release()
  }

  private free(): void {
    const { environment, session, profileFolder, onFreed } = this.parts
    environment.api.ReleaseSession(session)
    if (profileFolder !== undefined) removeProfileFolder(profileFolder)
    onFreed()
  }
}

interface BindingParts {
  readonly environment: Environment
  readonly session: Pointer
  readonly model: Model
  readonly inputNames: Strings
  readonly outputNames: Strings
  /** A record of our own, not the caller's: no array may be collected while an OrtValue points at it. */
  readonly buffers: Readonly<Record<string, Buffer>>
  /** Is called after each run, with times in ms since the epoch. */
  readonly onRun: (begin: number, end: number) => void
  readonly onFreed: () => void
}

export class SessionBinding implements Binding {
  readonly waits = false
  private readonly parts: BindingParts
  private readonly inputs: BigUint64Array
  private readonly outputs: BigUint64Array
  /** Arguments of OrtApi.Run. */
  readonly arguments: readonly [Pointer, null, Pointer, Pointer, number, Pointer, number, Pointer]
  private readonly lifetime = new Lifetime('binding', () => this.free())

  constructor(parts: BindingParts) {
    this.parts = parts
    const { environment, session, model, buffers } = parts
    const values = (ports: readonly Port[]) =>
      new BigUint64Array(ports.map((port) => createValue(environment, port, buffers[port.name] as Buffer)))
    this.inputs = values(model.inputs)
    this.outputs = values(model.outputs)
    this.arguments = [
      session,
      null,
      parts.inputNames.address,
      addressOf(this.inputs),
      this.inputs.length,
      parts.outputNames.address,
      this.outputs.length,
      addressOf(this.outputs),
    ]
  }

  enqueue(): Promise<RunReport> {
    return this.run()
  }

  run(): Promise<RunReport> {
    return new Promise((resolve, reject) => {
      this.lifetime.expectIdle()
      this.lifetime.begin()
      const begin = now()
      try {
        this.parts.environment.api.Run.async(...this.arguments, (error, status) => {
          this.parts.onRun(begin, now())
          const failure = error ? new RuntimeError(`internal: foreign call failed: ${error}`) : this.check(status)
          this.lifetime.end()
          if (failure) reject(failure)
          else resolve({ tickets: [], waitedMs: 0 })
        })
      } catch (error) {
        this.lifetime.end()
        throw new RuntimeError(`internal: foreign call failed: ${error}`)
      }
    })
  }

  runSync(): void {
    this.lifetime.expectIdle()
    const begin = now()
    const status = this.parts.environment.api.Run(...this.arguments)
    this.parts.onRun(begin, now())
    const failure = this.check(status)
    if (failure) throw failure
  }

  release(): void {
    this.lifetime.release()
  }

  private check(status: Pointer | null): RuntimeError | undefined {
    if (!status) return undefined
    const { environment, model } = this.parts
    const failure = takeFailure(environment.api, status)
    return failure && toRuntimeError(failure, model.origins, 'run')
  }

  private free(): void {
    const { api } = this.parts.environment
    for (const values of [this.inputs, this.outputs]) for (const value of values) api.ReleaseValue(value)
    this.parts.onFreed()
  }
}
