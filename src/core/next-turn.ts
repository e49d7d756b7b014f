/** Lets the event loop handle what waits: messages, timers, results of other threads. Runs in a browser too. */

interface Port {
  onmessage: (() => void) | null
  postMessage(message: null): void
}

/** Node's own way costs a microsecond. A timer costs a millisecond, and four in a browser. */
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

/** Browsers handle a message in the next turn. */
function postTask(task: () => void): void {
  if (!port) {
    const { port1, port2 } = new MessageChannel()
    port1.onmessage = () => waiting.shift()?.()
    port = port2
  }
  waiting.push(task)
  port.postMessage(null)
}

/** Work in pieces: between them, after each 10 ms, the event loop gets its turn, and the work stops at a signal. */
export class Turns {
  private since = performance.now()
  private readonly signal: AbortSignal | undefined

  constructor(signal?: AbortSignal) {
    this.signal = signal
  }

  /** Whether a turn is due. */
  get isDue(): boolean {
    return performance.now() - this.since > 10
  }

  /** @throws the reason of the signal if it is aborted */
  async take(): Promise<void> {
    await nextTurn()
    this.signal?.throwIfAborted()
    this.since = performance.now()
  }
}
