/**
 * Writes several texts in turns: each place has a text, and a token of each is computed in a round. Texts that have no
 * place wait in a queue.
 *
 * A text depends on its request alone: it has a context and random numbers of its own, so it is the same text whatever
 * is written beside it. Texts of a round share no computation yet. When rows of several texts are computed in one step,
 * that step replaces the inner loop of {@link Scheduler.round}, and nothing else here.
 */
import { nextTurn } from '../../../core/next-turn.ts'
import type { Tokenizer } from '../../../train/data/tokenizer/tokenizer.ts'
import type { Contexts } from '../generation/contexts.ts'
import { Answer } from './answer.ts'
import type { TextRequest } from './contract.ts'
import { RunningText } from './running-text.ts'

/** Time after which a reader who takes nothing is given up. */
const PATIENCE_MS = 60_000

/** Runs a piece of work when the processor is free for it: models share the processor. */
export type Turn = <T>(work: () => Promise<T>) => Promise<T>

export interface SchedulerOptions {
  /** Number of texts that may wait. A request is accepted as a whole while there are fewer. */
  readonly queue: number
  readonly turn?: Turn
  /** Called after each computation of a text. */
  readonly onComputed?: (computed: { readonly read: number; readonly written: number; readonly ms: number }) => void
  readonly patienceMs?: number
}

/** Thrown if too many texts wait. */
export class QueueFull extends Error {
  override readonly name = 'QueueFull'
}

export class Scheduler {
  private readonly contexts: Contexts
  private readonly tokenizer: Tokenizer
  private readonly options: SchedulerOptions
  /** The text in each context. */
  private readonly places: (RunningText | null)[]
  private waiting: RunningText[] = []
  private isClosed = false
  private wake = () => {}
  private readonly ended: Promise<void>

  constructor(contexts: Contexts, tokenizer: Tokenizer, options: SchedulerOptions) {
    this.contexts = contexts
    this.tokenizer = tokenizer
    this.options = options
    this.places = Array.from({ length: contexts.count }, () => null)
    this.ended = this.run()
  }

  /** Number of texts that have a place. */
  get active(): number {
    return this.running.length
  }

  /** Number of texts that wait for a place. */
  get queued(): number {
    return this.waiting.length
  }

  get isFull(): boolean {
    return this.active + this.queued >= this.places.length + this.options.queue
  }

  /** Begins the texts of a request. @throws QueueFull if too many texts wait */
  open(requests: readonly TextRequest[]): Answer {
    if (this.isFull) throw new QueueFull('too many texts wait')
    const answer = new Answer(requests.length, this.options.patienceMs ?? PATIENCE_MS, () => this.change())
    const { contexts, tokenizer } = this
    for (const [index, request] of requests.entries())
      this.waiting.push(new RunningText(contexts, tokenizer, request, answer, index))
    if (this.isClosed) answer.fail(new Error('the server has stopped'))
    this.change()
    return answer
  }

  /** Ends all texts with an error, and resolves when nothing is computed any more. */
  async close(error: Error): Promise<void> {
    this.isClosed = true
    for (const { answer } of [...this.running, ...this.waiting]) answer.fail(error)
    this.change()
    await this.ended
  }

  private get running(): RunningText[] {
    return this.places.filter((text): text is RunningText => text !== null && !text.isOver)
  }

  private change(): void {
    this.leave()
    this.wake()
  }

  private async run(): Promise<void> {
    while (!this.isClosed) {
      this.leave()
      this.enter()
      const changed = new Promise<void>((resolve) => {
        this.wake = resolve
      })
      if (!(await this.round())) await changed
      // Requests arrive in turns of the event loop.
      else await nextTurn()
    }
  }

  /** Takes texts that are over out of the queue. Their places are free at once, unless they are being computed. */
  private leave(): void {
    this.waiting = this.waiting.filter((text) => !text.isOver)
  }

  /** Gives free places to waiting texts, first to those of requests with the fewest places. */
  private enter(): void {
    for (const [place, text] of this.places.entries()) {
      if (text && !text.isOver) continue
      this.places[place] = null
      const placesOf = ({ answer }: RunningText) => this.running.filter((other) => other.answer === answer).length
      const [next] = this.waiting.toSorted((a, b) => placesOf(a) - placesOf(b))
      if (!next) continue
      this.waiting.splice(this.waiting.indexOf(next), 1)
      this.places[place] = next
    }
  }

  /** Computes a token of each text. Returns whether there was one. */
  private async round(): Promise<boolean> {
    let computed = false
    let hasRead = false
    for (const [place, text] of this.places.entries()) {
      if (!text || text.isOver || !text.answer.hasRoom) continue
      // A prompt takes long: the others wait for one of them at most.
      if (text.readsContext && hasRead) continue
      hasRead ||= text.readsContext
      computed = true
      await this.compute(text, place)
    }
    return computed
  }

  private async compute(text: RunningText, place: number): Promise<void> {
    const { turn = (work) => work(), onComputed } = this.options
    const [read, before] = [text.readsContext ? text.pendingTokens : 0, text.computed]
    try {
      const ms = await turn(async () => {
        const began = performance.now()
        if (!text.isOver) await text.advance(place)
        return performance.now() - began
      })
      onComputed?.({ read, written: text.computed - before, ms })
    } catch (error) {
      text.answer.fail(error)
    }
  }
}
