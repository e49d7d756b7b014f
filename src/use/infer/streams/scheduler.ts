/**
 * Writes several texts together: each place has a text, and in a round the next tokens of all of them are computed at
 * once. Texts that have no place wait in a queue. A text in a place reads its prompt when there are pages for it, in the
 * order in which texts came to need them, so that no text waits for ever.
 *
 * A text depends on its request alone: it has a context and random numbers of its own, so it is the same text whatever
 * is written beside it.
 */
import { nextTurn } from '../../../core/next-turn.ts'
import type { Tokenizer } from '../../../train/data/tokenizer/tokenizer.ts'
import type { PageCounts } from '../generation/cached-contexts.ts'
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
  /** Called after each computation of one text or of several. */
  readonly onComputed?: (computed: Computed) => void
  readonly patienceMs?: number
}

/** What was computed. */
export interface Computed {
  /** Tokens of prompts, and of contexts that were read again. */
  readonly read: number
  /** Tokens of prompts whose keys and values were reused, so that they were not read. */
  readonly reused: number
  readonly written: number
  readonly ms: number
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
  /** Texts in places that read a context next, the one that has waited longest first. */
  private readers: RunningText[] = []
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

  /** Numbers of pages for the keys and values of texts. */
  get pages(): PageCounts {
    return this.contexts.pages
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

  /**
   * Gives free places to waiting texts, first to those of requests with the fewest places. A text gets the place whose
   * context has the most of its prompt.
   */
  private enter(): void {
    const free: number[] = []
    for (const [place, text] of this.places.entries()) {
      if (text && !text.isOver) continue
      if (text) this.contexts.leave(place)
      this.places[place] = null
      free.push(place)
    }
    while (free.length > 0) {
      const placesOf = ({ answer }: RunningText) => this.running.filter((other) => other.answer === answer).length
      const [next] = this.waiting.toSorted((a, b) => placesOf(a) - placesOf(b))
      if (!next) return
      this.waiting.splice(this.waiting.indexOf(next), 1)
      const place = this.contexts.choose(free, next.prompt)
      free.splice(free.indexOf(place), 1)
      this.places[place] = next
    }
  }

  /** Computes the next token of each text, and reads a block of one context. Returns whether anything was computed. */
  private async round(): Promise<boolean> {
    const ready = this.places.flatMap((text, place) =>
      text && !text.isOver && text.answer.hasRoom ? [{ text, place }] : [],
    )
    const writers = ready.filter(({ text }) => !text.readsContext)
    if (writers.length > 0) await this.write(writers)
    // A prompt takes long: the others wait for one block at most.
    const reader = this.nextReader(ready)
    if (reader) await this.read(reader)
    return writers.length > 0 || reader !== undefined
  }

  /** The text that reads its context now: the one that has waited longest, if there are pages for it. */
  private nextReader(ready: readonly Placed[]): Placed | undefined {
    this.readers = this.readers.filter((text) => text.readsContext && !text.isOver)
    for (const [place, text] of this.places.entries()) {
      if (!text?.readsContext || text.isOver || this.readers.includes(text)) continue
      this.readers.push(text)
      // Its old context is of no use any more; others may need the pages.
      this.contexts.leave(place)
    }
    const placed = this.readers.flatMap((text) => ready.find((other) => other.text === text) ?? [])
    const [next] = placed
    return next?.text.canRead(next.place) ? next : undefined
  }

  private async read({ text, place }: Placed): Promise<void> {
    const before = [text.read, text.reused, text.computed] as const
    try {
      const ms = await this.timed(async () => {
        if (!text.isOver) await text.advance(place)
      })
      const [read, reused, written] = before
      this.options.onComputed?.({
        ...{ read: text.read - read, reused: text.reused - reused, written: text.computed - written },
        ms,
      })
    } catch (error) {
      text.answer.fail(error)
    }
  }

  private async write(placed: readonly Placed[]): Promise<void> {
    let written = 0
    try {
      const ms = await this.timed(async () => {
        const left = placed.filter(({ text }) => !text.isOver)
        const texts = left.map(({ text, place }) => text.inContext(place))
        await this.contexts.computeTokens(texts, (i, logits) => {
          const { text } = left[i] as Placed
          const before = text.computed
          try {
            text.take(logits)
          } catch (error) {
            text.answer.fail(error)
          }
          written += text.computed - before
        })
      })
      this.options.onComputed?.({ read: 0, reused: 0, written, ms })
    } catch (error) {
      for (const { text } of placed) text.answer.fail(error)
    }
  }

  /** Runs work when the processor is free for it. Returns its duration in ms. */
  private timed(work: () => Promise<void>): Promise<number> {
    const { turn = (work) => work() } = this.options
    return turn(async () => {
      const began = performance.now()
      await work()
      return performance.now() - began
    })
  }
}

interface Placed {
  readonly text: RunningText
  readonly place: number
}
