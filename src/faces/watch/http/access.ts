/**
 * Decides who may send requests. There are two modes:
 *
 * - Without a token, the server binds to this machine and answers only requests whose Host header names this machine.
 *   A website whose name was made to point here (DNS rebinding) sends its own name and is refused.
 * - With a token, every client that has it is served, under any name. The token arrives once in the address and moves
 *   into a cookie. Scripts cannot read it, and from other sites it is sent only when a link is followed. Programs send
 *   the token as a Bearer token.
 *
 * In both modes, expensive requests (POST) must be JSON, which no form of another site can send, and come from our
 * page.
 */
import { createHash, timingSafeEqual } from 'node:crypto'
import type { Context, MiddlewareHandler } from 'hono'
import { getCookie, setCookie } from 'hono/cookie'
import { ProblemError } from './problem.ts'

export interface Access {
  readonly port: number
  /** Secret that clients must have; if undefined, only this machine may connect. */
  readonly token: string | undefined
}

export function access({ port, token }: Access): MiddlewareHandler {
  // Browsers send the cookies of a host to all its ports.
  const cookie = `choir-${port}`
  return async (c, next) => {
    if (token === undefined) requireLoopbackName(c, port)
    else {
      const addressToken = c.req.query('token')
      if (addressToken !== undefined && c.req.method === 'GET' && equal(addressToken, token)) {
        // Not `Strict`: when the address is opened from a chat, the redirected request would lack the cookie.
        setCookie(c, cookie, token, { httpOnly: true, sameSite: 'Lax', path: '/' })
        return c.redirect(withoutToken(new URL(c.req.url)), 303)
      }
      const bearer = /^Bearer (.+)$/i.exec(c.req.header('authorization') ?? '')?.[1]
      const isKnown = [bearer, getCookie(c, cookie)].some((each) => each !== undefined && equal(each, token))
      if (!isKnown) throw new ProblemError(401, 'A token is needed: open the address that choir watch printed.')
    }
    if (c.req.method === 'POST') requireOwnPost(c)
    await next()
  }
}

/** Whether only this machine can reach an address. A website cannot make a numeric address point here. */
export function isLoopback(host: string): boolean {
  return /^(?:localhost|127(?:\.\d{1,3}){3}|::1|\[::1\])$/i.test(host)
}

/** Whether the Host header of a request is a loopback name. */
export const isOwnName = (c: Context): boolean => isLoopback(hostOf(c).name)

function requireLoopbackName(c: Context, port: number): void {
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

function requireOwnPost(c: Context): void {
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
  if (from !== own) throw new ProblemError(403, "Only requests from the dashboard's own page are accepted.")
}

/** Compares in constant time, so that timing does not reveal where the two differ. */
function equal(a: string, b: string): boolean {
  const digest = (text: string) => createHash('sha256').update(text).digest()
  return timingSafeEqual(digest(a), digest(b))
}

/** Path and query of an address. A path that begins with two slashes would lead to another host. */
function withoutToken({ pathname, searchParams }: URL): string {
  searchParams.delete('token')
  const query = searchParams.toString()
  return `${pathname.replace(/^\/+/, '/')}${query ? `?${query}` : ''}`
}
