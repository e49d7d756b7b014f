/**
 * Server-sent events: every open page is told what changed.
 *
 * A page that reads slowly gets fewer events, not late ones: while one is on its way, changes are put together.
 */
import type { Context } from 'hono'
import { streamSSE } from 'hono/streaming'
import type { Change } from '../api.ts'

/** Milliseconds between signs of life: proxies close what is silent, and a page that is gone is noticed. */
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
        // The first bytes tell the page that it is connected.
        await stream.write(': choir\n\n')
        while (!ended) {
          if (pending === undefined) {
            const woken = new Promise<void>((resolve) => {
              wake = resolve
            })
            if (!(await within(HEARTBEAT_MS, woken))) await stream.write(': still here\n\n')
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

/** Whether it came in time. */
async function within(ms: number, event: Promise<void>): Promise<boolean> {
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
