/**
 * The texts of one request on their way to its reader. Parts wait here until they are read: only a few, so a slow reader
 * slows its own texts and no others, and needs no memory.
 */
import type { TextEvent } from './contract.ts'

/** Number of parts that wait before no more tokens are computed for the request. */
const MAX_WAITING = 32

/** Ends the texts of a reader who takes nothing for too long. */
class SlowReader extends Error {
  constructor() {
    super('the parts of the text were not read in time')
  }
}

export class Answer {
  private readonly waiting: TextEvent[] = []
  private readonly patienceMs: number
  /** Number of texts that have not ended. */
  private open: number
  private failure: { readonly error: unknown } | null = null
  private isLeft = false
  private wake = () => {}
  private timer: ReturnType<typeof setTimeout> | undefined
  private readonly onChange: () => void

  /**
   * @param texts Number of texts of the request.
   * @param patienceMs Time after which a reader who takes no part is given up.
   * @param onChange Called when texts can go on, or need not.
   */
  constructor(texts: number, patienceMs: number, onChange: () => void) {
    this.open = texts
    this.patienceMs = patienceMs
    this.onChange = onChange
  }

  /** Whether no more parts are wanted. */
  get isOver(): boolean {
    return this.isLeft || this.failure !== null
  }

  /** Whether the reader keeps up. */
  get hasRoom(): boolean {
    return this.waiting.length < MAX_WAITING
  }

  push(event: TextEvent): void {
    if (this.isOver) return
    this.waiting.push(event)
    if (event.kind === 'end') this.open--
    if (!this.hasRoom) this.timer ??= setTimeout(() => this.fail(new SlowReader()), this.patienceMs)
    this.wake()
  }

  /** Ends all texts: reading throws the error after the parts that wait. */
  fail(error: unknown): void {
    if (this.isOver) return
    clearTimeout(this.timer)
    this.failure = { error }
    this.wake()
    this.onChange()
  }

  /** Ends all texts, because nobody reads them. */
  leave(): void {
    clearTimeout(this.timer)
    this.isLeft = true
    this.waiting.length = 0
    this.wake()
    this.onChange()
  }

  /** The parts in the order in which they were made. Leaving the loop early ends the texts. */
  async *events(): AsyncGenerator<TextEvent, void> {
    try {
      for (;;) {
        const event = this.waiting.shift()
        if (event) {
          clearTimeout(this.timer)
          this.timer = undefined
          this.onChange()
          yield event
        } else if (this.failure) throw this.failure.error
        else if (this.isLeft || this.open === 0) return
        else
          await new Promise<void>((resolve) => {
            this.wake = resolve
          })
      }
    } finally {
      this.leave()
    }
  }
}
