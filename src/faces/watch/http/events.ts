/**
 * Server-sent events: every open page is notified of changes.
 *
 * A page that reads slowly gets fewer events, not late ones: changes are merged while an event is being sent.
 */
import type { Context } from 'hono'
import { streamSSE } from 'hono/streaming'
import type { Change } from '../api.ts'

/** Proxies close silent connections; a failed write shows that the page is gone. */
const HEARTBEAT_MS = 15_000

export class Events {
  private readonly streams = new Set<() => void>()
  private readonly onChange: (listener: (change: Change) => void) => () => void
  private isClosed = false

  constructor(onChange: (listener: (change: Change) => void) => () => void) {
    this.onChange = onChange
  }

  answer(c: Context): Response {
    return streamSSE(c, async (stream) => {
      let pending: Change | undefined
      let ended = this.isClosed
      let wake = () => {}
      const end = () => {
        ended = true
        wake()
      }
      const stop = this.onChange((change) => {
        pending = merged(pending, change)
        wake()
      })
      stream.onAbort(end)
      this.streams.add(end)
      try {
        // With the first bytes the page knows that it is connected.
        await stream.write(': choir\n\n')
        while (!ended) {
          if (pending === undefined) {
            const woken = new Promise<void>((resolve) => {
              wake = resolve
            })
            if (!(await happensWithin(HEARTBEAT_MS, woken))) await stream.write(': still here\n\n')
            continue
          }
          const change = pending
          pending = undefined
          await stream.writeSSE({ event: 'change', id: String(change.version), data: JSON.stringify(change) })
        }
      } finally {
        stop()
        this.streams.delete(end)
      }
    })
  }

  close(): void {
    this.isClosed = true
    for (const end of this.streams) end()
  }
}

function merged(before: Change | undefined, { version, runs }: Change): Change {
  return { version, runs: before ? [...new Set([...before.runs, ...runs])] : runs }
}

/** Whether the event came in time. */
async function happensWithin(ms: number, event: Promise<void>): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<false>((resolve) => {
    timer = setTimeout(() => resolve(false), ms)
  })
  try {
    return await Promise.race([event.then(() => true), late])
  } finally {
    clearTimeout(timer)
  }
}
