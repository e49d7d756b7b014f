/** A training in a worker, with its records as signals that components read. */
import { batch, computed, type ReadonlySignal, signal } from '@preact/signals'
import {
  type ConfigInput,
  type EvalRecord,
  type OpenedTraining,
  type PageText,
  type PreparedText,
  type RoutingRecord,
  type TrainingEvent,
  TrainingWorker,
  type TrainRecord,
  type WorkerPort,
} from '../../src/faces/library/web.ts'
import type { RoutingIndex, TokenTrace } from '../../src/faces/watch/api.ts'
import { rowOf, Snapshots } from '../../src/faces/watch/runs/snapshots.ts'

export type SideName = 'A' | 'B'

/**
 * - `empty`: nothing is open
 * - `preparing`: the text is read, the model is compiled
 * - `failed`: the run could not be opened, or its training failed; `problem` has the reason
 */
export type Phase = 'empty' | 'preparing' | 'paused' | 'running' | 'finished' | 'failed'

/** Shortest time between two redraws: steps come faster than a page needs to be drawn. */
const REDRAW_MS = 120
/** Shortest time between two routings of the same text. */
const ROUTE_MS = 1500

export const startWorker = (): WorkerPort => new Worker(new URL('./worker.ts', import.meta.url), { type: 'module' })

/** Name of a side's run in the storage of the browser. */
export const storeOf = (side: SideName): string => `play-${side}`

export class LiveRun {
  readonly side: SideName
  readonly phase = signal<Phase>('empty')
  /** The part of the preparation that is under way, or a notice. */
  readonly message = signal('')
  readonly problem = signal<string | null>(null)
  readonly opened = signal<OpenedTraining | null>(null)
  /** Number of steps that are done. It is exact at any time, unlike what the page has drawn. */
  readonly done = signal(0)
  /** Number that grows with new records, a few times a second. */
  readonly version = signal(0)
  readonly records: TrainRecord[] = []
  readonly evaluations: EvalRecord[] = []
  readonly trace = signal<TokenTrace | null>(null)
  readonly written = signal('')
  readonly isWriting = signal(false)
  /** Routers and snapshots; undefined for a dense model, or before the first step. */
  readonly routing: ReadonlySignal<RoutingIndex | undefined>
  snapshots = new Snapshots()

  private readonly openWorker: () => WorkerPort
  private worker: TrainingWorker | null = null
  private port: WorkerPort | null = null
  /** Whether training begins once the run is open. */
  private runsWhenOpen = false
  private allowed: number | null = null
  private redraw: ReturnType<typeof setTimeout> | undefined
  private stopWriting: AbortController | null = null
  private text = ''
  private isRouting = false
  private routed = { text: '', step: -1, at: Number.NEGATIVE_INFINITY }

  constructor(side: SideName, openWorker: () => WorkerPort = startWorker) {
    this.side = side
    this.openWorker = openWorker
    this.routing = computed(() => {
      void this.version.value
      return this.snapshots.index(side)
    })
  }

  get isOpen(): boolean {
    return this.phase.value === 'running' || this.phase.value === 'paused' || this.phase.value === 'finished'
  }

  get step(): number {
    return this.records.at(-1)?.step ?? 0
  }

  /** Opens a new training of a configuration, and trains. The text may still be in preparation. */
  start(config: ConfigInput, text: Promise<PreparedText>): Promise<void> {
    return this.open(async (worker) => worker.open({ config, text: await text, store: storeOf(this.side) }))
  }

  /** Opens the run that the browser has stored; it stays paused. */
  restore(text: PageText): Promise<void> {
    return this.open((worker) => worker.resume({ store: storeOf(this.side), text }), false)
  }

  /** Opens the run of a zip file; it stays paused. */
  importZip(zip: Uint8Array, text: PageText): Promise<void> {
    return this.open((worker) => worker.import({ zip, text, store: storeOf(this.side) }), false)
  }

  /** Continues to train, to the end or until paused. */
  async run(): Promise<void> {
    const { worker } = this
    const config = this.opened.value?.config
    if (!worker || !config || this.phase.value === 'running') return
    this.phase.value = 'running'
    try {
      const steps = await worker.run()
      if (this.worker === worker) this.phase.value = steps >= config.train.steps ? 'finished' : 'paused'
    } catch (error) {
      if (this.worker === worker) this.fail(error)
    }
    this.changed()
  }

  async pause(): Promise<void> {
    this.runsWhenOpen = false
    if (this.phase.value !== 'preparing') await this.worker?.pause()
  }

  /** Sets the last step that the training may do, also of a training that is opened later; null for no limit. */
  allow(step: number | null): void {
    if (step === this.allowed) return
    this.allowed = step
    this.worker?.allow(step).catch(() => undefined)
  }

  async close(): Promise<void> {
    const { worker, port } = this
    const isOpen = this.isOpen
    this.worker = null
    this.stopWriting?.abort()
    this.clear()
    // A worker that prepares has nothing to store, and a worker that failed does not answer.
    if (isOpen) await worker?.close().catch(() => undefined)
    port?.terminate?.()
  }

  export(): Promise<Uint8Array> {
    return (this.worker as TrainingWorker).export()
  }

  /** Writes a text that continues the prompt, also while training goes on. */
  async write(prompt: string, options: { tokens: number; temperature: number; seed: number }): Promise<void> {
    const { worker } = this
    if (!worker || !this.isOpen) return
    this.stopWriting?.abort()
    const stop = new AbortController()
    this.stopWriting = stop
    this.written.value = ''
    this.isWriting.value = true
    try {
      for await (const piece of worker.generate(prompt, { ...options, signal: stop.signal }))
        if (!stop.signal.aborted) this.written.value += piece
    } catch (error) {
      if (!stop.signal.aborted) this.written.value = (error as Error).message
    } finally {
      if (this.stopWriting === stop) this.isWriting.value = false
    }
  }

  /** Routes a text with the current parameters, now and repeatedly while training goes on. */
  route(text: string): void {
    this.text = text
    this.routeAgain()
  }

  private async open(begin: (worker: TrainingWorker) => Promise<OpenedTraining | null>, andRun = true): Promise<void> {
    await this.close()
    this.phase.value = 'preparing'
    this.runsWhenOpen = andRun
    const port = this.openWorker()
    const worker = new TrainingWorker(port, (event) => {
      if (this.worker === worker) this.receive(event)
    })
    this.worker = worker
    this.port = port
    // A new worker has no limit.
    if (this.allowed !== null) worker.allow(this.allowed).catch(() => undefined)
    try {
      const opened = await begin(worker)
      if (this.worker !== worker) return
      if (!opened) throw new Error('No run is stored in this browser.')
      this.done.value = opened.steps
      this.opened.value = opened
      this.snapshots = new Snapshots(opened.config.model.moe?.prototypes ?? 1)
      for (const record of opened.metrics)
        if (record.kind === 'train') this.records.push(record)
        else this.evaluations.push(record)
      for (const record of opened.routing) this.addRouting(record)
      this.message.value = ''
      // In one batch, so that the other side never sees this one paused, and runs ahead.
      batch(() => {
        this.phase.value = opened.steps >= opened.config.train.steps ? 'finished' : 'paused'
        this.changed()
        if (this.runsWhenOpen) void this.run()
      })
    } catch (error) {
      if (this.worker !== worker) return
      this.worker = null
      port.terminate?.()
      this.fail(error)
    }
  }

  private receive(event: TrainingEvent): void {
    if (event.kind === 'step') {
      this.records.push(event.record)
      for (const record of event.routing) this.addRouting(record)
      this.done.value = event.record.step
      this.changed()
    } else if (event.kind === 'evaluation') {
      this.evaluations.push(event.record)
      this.changed()
    } else if ('message' in event) this.message.value = event.message
  }

  private addRouting(record: RoutingRecord): void {
    const snapshot = this.snapshots.enter(record.step)
    const row = rowOf({ ...record })
    if (snapshot && row) this.snapshots.put(snapshot, record.layer, record.module, row)
  }

  private changed(): void {
    this.redraw ??= setTimeout(() => {
      this.redraw = undefined
      this.snapshots.settle()
      this.version.value++
      this.routeAgain()
    }, REDRAW_MS)
  }

  private fail(error: unknown): void {
    this.problem.value = error instanceof Error ? error.message : String(error)
    this.phase.value = 'failed'
  }

  private clear(): void {
    this.records.length = this.evaluations.length = 0
    this.snapshots = new Snapshots()
    this.opened.value = null
    this.done.value = 0
    this.trace.value = null
    this.routed = { text: '', step: -1, at: Number.NEGATIVE_INFINITY }
    this.written.value = this.message.value = ''
    this.problem.value = null
    this.isWriting.value = false
    this.phase.value = 'empty'
    this.version.value++
  }

  private async routeAgain(): Promise<void> {
    const { worker, text, step, routed } = this
    const moe = this.opened.value?.config.model.moe
    if (!worker || !this.isOpen || !moe || text === '' || this.isRouting) return
    const isNew = text !== routed.text
    if (
      !isNew &&
      (step === routed.step || (performance.now() < routed.at + ROUTE_MS && this.phase.value === 'running'))
    )
      return
    this.isRouting = true
    try {
      const { tokens, loss, truncated: cut, routers } = await worker.trace(text)
      if (this.worker !== worker) return
      const withPrototypes = routers.map((router) => ({ ...router, prototypes: moe.prototypes }))
      this.trace.value = { run: this.side, step, loss, tokens, cut, routers: withPrototypes }
    } catch (error) {
      if (this.worker === worker) this.message.value = (error as Error).message
    } finally {
      this.isRouting = false
      this.routed = { text, step, at: performance.now() }
    }
    if (this.worker === worker && this.text !== text) void this.routeAgain()
  }
}
