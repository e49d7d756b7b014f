/**
 * Rules about who may send requests, for all servers.
 *
 * - A server without a token binds to this machine and answers only requests whose Host header names this machine. A
 *   website whose name was made to point here (DNS rebinding) sends its own name and is refused.
 * - Expensive requests (POST) must be JSON, which no form of another site can send, and come from no page of another
 *   site.
 */
import { createHash, timingSafeEqual } from 'node:crypto'
import type { Context } from 'hono'
import { ProblemError } from './problem.ts'

/** Whether only this machine can reach an address. A website cannot make a numeric address point here. */
export function isLoopback(host: string): boolean {
  return /^(?:localhost|127(?:\.\d{1,3}){3}|::1|\[::1\])$/i.test(host)
}

/** Whether the Host header of a request is a loopback name. */
export const isOwnName = (c: Context): boolean => isLoopback(hostOf(c).name)

/** @throws ProblemError unless the Host header names this machine and the port of the server */
export function requireLoopbackName(c: Context, port: number): void {
  if (isOwnName(c) && Number(hostOf(c).port) === port) return
  throw new ProblemError(
    403,
    `This server answers only to localhost:${port}. Through a tunnel, use the same port at both ends: ` +
      `ssh -L ${port}:localhost:${port} HOST.`,
  )
}

function hostOf(c: Context): { name: string; port: string } {
  const [, name = '', port = '80'] = /^(.*?)(?::(\d+))?$/.exec(c.req.header('host') ?? '') ?? []
  return { name, port }
}

/**
 * @param ofOthers Message about a request from a page of another site.
 * @throws ProblemError unless the request is JSON, from our own page or from a program
 */
export function requireOwnPost(c: Context, ofOthers: string): void {
  const type = c.req.header('content-type')?.split(';')[0]?.trim().toLowerCase()
  if (type !== 'application/json')
    throw new ProblemError(415, 'Send requests as JSON (content-type: application/json).')
  const origin = c.req.header('origin')
  if (origin === undefined) return
  const from = URL.canParse(origin) ? new URL(origin).host : ''
  // An origin omits the default port; the Host header may have it.
  const own = URL.canParse(`http://${c.req.header('host')}`)
    ? new URL(`http://${c.req.header('host')}`).host
    : undefined
  if (from !== own) throw new ProblemError(403, ofOthers)
}

/** The token that a program sends in the header of a request. */
export const bearerOf = (c: Context): string | undefined =>
  /^Bearer (.+)$/i.exec(c.req.header('authorization') ?? '')?.[1]

/** Compares in constant time, so that timing does not reveal where the two differ. */
export function isSameSecret(a: string, b: string): boolean {
  const digest = (text: string) => createHash('sha256').update(text).digest()
  return timingSafeEqual(digest(a), digest(b))
}
