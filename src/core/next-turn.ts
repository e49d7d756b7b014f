/** Lets the event loop handle waiting messages, timers and results of other threads. It runs in a browser too. */

interface Port {
  onmessage: (() => void) | null
  postMessage(message: null): void
}

/** Node's `setImmediate` costs a microsecond. A timer costs a millisecond, and four in a browser. */
const { setImmediate, MessageChannel } = globalThis as unknown as {
  readonly setImmediate?: (task: () => void) => unknown
  readonly MessageChannel: new () => { readonly port1: Port; readonly port2: Port }
}

export const nextTurn = (): Promise<void> =>
  new Promise((resolve) => {
    if (setImmediate) setImmediate(resolve)
    else postTask(resolve)
  })

const waiting: (() => void)[] = []
let port: Port | undefined

/** Runs a task in the next turn, in which a browser handles a message. */
function postTask(task: () => void): void {
  if (!port) {
    const { port1, port2 } = new MessageChannel()
    port1.onmessage = () => waiting.shift()?.()
    port = port2
  }
  waiting.push(task)
  port.postMessage(null)
}

/** Turns of the event loop during work in pieces: one is due every 10 ms, and the work stops there if it is aborted. */
export class Turns {
  private since = performance.now()
  private readonly signal: AbortSignal | undefined
  private readonly onTurn: () => void

  /** @param onTurn Called at each turn, for example to report progress. */
  constructor(signal?: AbortSignal, onTurn: () => void = () => {}) {
    this.signal = signal
    this.onTurn = onTurn
  }

  /** Whether a turn is due. */
  get isDue(): boolean {
    return performance.now() - this.since > 10
  }

  /** @throws the reason of the signal if it is aborted */
  async take(): Promise<void> {
    await nextTurn()
    this.signal?.throwIfAborted()
    this.onTurn()
    this.since = performance.now()
  }
}
