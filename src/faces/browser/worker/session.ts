/** The training that is open in a worker. It is run and paused, and answers requests while it runs. */
import { UsageError } from '../../../core/errors.ts'
import type { Runtime } from '../../../engine/contract/runtime.ts'
import type { OnMessage } from '../../../train/run/messages.ts'
import type { TextEnd } from '../../../use/infer/continue-text.ts'
import { runTraining, type TrainingEvent } from '../run-training.ts'
import type { RunStore } from '../storage/run-store.ts'
import { WebTraining } from '../web-training.ts'
import type { CommandName, GenerateInput, InputOf, OpenedTraining, OutputOf, ResumeInput } from './messages.ts'

/** Services that the surroundings of a training provide. */
export interface Services {
  openRuntime(): Promise<Runtime>
  openStore(name: string): Promise<RunStore>
}

interface Open {
  readonly training: WebTraining
  readonly runtime: Runtime
  readonly store: RunStore | null
}

/** Answers a command. @param write Receives the pieces of a text. */
type Handler<Name extends CommandName> = (
  input: InputOf<Name>,
  id: number,
  write: (piece: string) => void,
) => Promise<OutputOf<Name>>

export class Session {
  private readonly services: Services
  private readonly emit: (event: TrainingEvent) => void
  private current: Promise<Open | null> | undefined
  private running: { readonly stop: AbortController; readonly ended: Promise<number> } | undefined
  /** The last step that may begin, and a function that has a waiting training look again. */
  private allowed = Number.POSITIVE_INFINITY
  private wake = () => {}
  /** Texts under way, by the id of their request. */
  private readonly texts = new Map<number, AbortController>()
  private readonly handlers: { readonly [Name in CommandName]: Handler<Name> } = {
    prepare: (input) => WebTraining.prepare({ ...input, onMessage: this.emit }),
    open: ({ store, ...input }) => this.open(store, (options) => WebTraining.open({ ...input, ...options })),
    import: ({ zip, store, ...input }) =>
      this.open(store, (options) => WebTraining.import(zip, { ...input, ...options })),
    resume: ({ store, ...input }) => this.resume(store, input),
    run: () => this.run(),
    pause: () => this.pause(),
    allow: async (step) => {
      if (step !== null && !(Number.isInteger(step) && step >= 0))
        throw new UsageError(`invalid step: ${String(step)} (expected the number of a step, or null for no limit)`)
      this.allowed = step ?? Number.POSITIVE_INFINITY
      this.wake()
      return null
    },
    evaluate: async () => (await this.opened()).training.evaluate(),
    generate: (input, id, write) => this.generate(input, id, write),
    stop: async (id) => {
      this.texts.get(id)?.abort()
      return null
    },
    trace: async (text) => (await this.opened()).training.trace(text),
    checkpoint: () => this.checkpoint(),
    export: async () => (await this.opened()).training.export(),
    close: () => this.close(),
  }

  constructor(services: Services, emit: (event: TrainingEvent) => void) {
    this.services = services
    this.emit = emit
  }

  answer<Name extends CommandName>(
    command: Name,
    input: InputOf<Name>,
    id: number,
    write: (piece: string) => void,
  ): Promise<OutputOf<Name>> {
    return (this.handlers[command] as Handler<Name>)(input, id, write)
  }

  private async resume(name: string, input: Omit<ResumeInput, 'store'>): Promise<OpenedTraining | null> {
    const store = await this.services.openStore(name)
    const zip = await store.load()
    return zip && this.open(name, (options) => WebTraining.import(zip, { ...input, ...options }))
  }

  private async open(
    store: string | undefined,
    start: (options: { readonly runtime: Runtime; readonly onMessage: OnMessage }) => Promise<WebTraining>,
  ): Promise<OpenedTraining> {
    if (await this.current) throw new UsageError('a training is open in this worker (close it first)')
    this.current = this.start(store, start)
    try {
      return summaryOf((await this.current) as Open)
    } catch (error) {
      this.current = undefined
      throw error
    }
  }

  private async start(name: string | undefined, start: Parameters<Session['open']>[1]): Promise<Open> {
    const runtime = await this.services.openRuntime()
    try {
      const store = name === undefined ? null : await this.services.openStore(name)
      return { training: await start({ runtime, onMessage: this.emit }), runtime, store }
    } catch (error) {
      await runtime.close()
      throw error
    }
  }

  private async opened(): Promise<Open> {
    const open = await this.current
    if (!open) throw new UsageError('no training is open in this worker')
    return open
  }

  private async run(): Promise<number> {
    const { training, store } = await this.opened()
    if (!this.running) {
      const stop = new AbortController()
      const beforeStep = (step: number) => this.untilAllowed(step, stop.signal)
      const ended = runTraining(training, { store, signal: stop.signal, onEvent: this.emit, beforeStep })
        .then(() => training.steps)
        .finally(() => {
          this.running = undefined
        })
      this.running = { stop, ended }
    }
    return this.running.ended
  }

  private async untilAllowed(step: number, signal: AbortSignal): Promise<void> {
    while (step > this.allowed && !signal.aborted)
      await new Promise<void>((resolve) => {
        this.wake = resolve
      })
  }

  private async pause(): Promise<null> {
    const { running } = this
    running?.stop.abort()
    this.wake()
    // A failure of the training is the answer to `run`, not to `pause`.
    await running?.ended.catch(() => undefined)
    return null
  }

  private async generate(
    { prompt, options }: GenerateInput,
    id: number,
    write: (piece: string) => void,
  ): Promise<TextEnd> {
    const { training } = await this.opened()
    const stop = new AbortController()
    this.texts.set(id, stop)
    try {
      const pieces = training.generate(prompt, { ...options, signal: stop.signal })
      for (;;) {
        const { done, value } = await pieces.next()
        if (done) return value
        write(value)
      }
    } finally {
      this.texts.delete(id)
    }
  }

  private async checkpoint(): Promise<null> {
    const { training, store } = await this.opened()
    if (!store) throw new UsageError('this training is not stored (open it with the name of a store)')
    await training.checkpoint(store)
    return null
  }

  private async close(): Promise<null> {
    const open = await this.current
    this.current = undefined
    for (const text of this.texts.values()) text.abort()
    await this.pause()
    await open?.training.close()
    await open?.runtime.close()
    return null
  }
}

const summaryOf = ({ training, runtime }: Open): OpenedTraining => ({
  config: training.config,
  steps: training.steps,
  parameters: training.parameters,
  activeParameters: training.activeParameters,
  tokens: training.tokens,
  provider: runtime.provider,
  metrics: training.metrics(),
  routing: training.routing(),
})
