/** An address on this machine that receives each line as a POST request. */
import { UsageError } from '../../../core/errors.ts'
import type { LineSink } from './line-sink.ts'

const LOOPBACK = /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/

/** Whether a target is meant as an address, not as a command. */
export const isAddress = (target: string): boolean => /^\w+:\/\//.test(target.trim())

/** @throws UsageError if `text` is not an http address on this machine */
export function loopbackAddress(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (url?.protocol === 'http:' && LOOPBACK.test(url.hostname) && !url.username) return url
  throw new UsageError(
    `invalid --log-to: ${JSON.stringify(text)} (expected an http address on this machine, such as ` +
      'http://127.0.0.1:8080/log: Choir sends nothing elsewhere; give a command that does, such as a script)',
  )
}

/** @param timeoutMs Time that the receiver has to answer. */
export function addressSink(url: URL, timeoutMs: number): LineSink {
  return {
    async send(line) {
      const response = await fetch(url, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: line,
        // A redirect could lead to another machine.
        redirect: 'error',
        signal: AbortSignal.timeout(timeoutMs),
      }).catch((error: Error) => {
        throw new Error(`${url.href} does not answer: ${((error.cause as Error | undefined) ?? error).message}`)
      })
      await response.arrayBuffer()
      if (!response.ok) throw new Error(`${url.href} answers with status ${response.status}`)
    },
    async close() {},
  }
}
