/**
 * Who may ask. Two ways, and nothing in between:
 *
 * - without a token the server is bound to this machine, and answers requests that name it so. A page of some
 *   website whose name was made to point here (DNS rebinding) names itself, and is refused;
 * - with a token whoever has it may ask, under any name. It comes once in the address, is put into a cookie that
 *   scripts cannot read and other sites send only where someone follows a link, and is gone from the address;
 *   programs send it as a Bearer.
 *
 * In both, what makes the server work (POST) must be JSON, which no form of another site sends, and from our page.
 */
import { createHash, timingSafeEqual } from 'node:crypto'
import type { Context, MiddlewareHandler } from 'hono'
import { getCookie, setCookie } from 'hono/cookie'
import { ProblemError } from './problem.ts'

export interface Access {
  readonly port: number
  /** Undefined: this machine only. */
  readonly token: string | undefined
}

export function access({ port, token }: Access): MiddlewareHandler {
  // Browsers send the cookies of a host to all of its ports.
  const cookie = `choir-${port}`
  return async (c, next) => {
    if (token === undefined) requireOwnName(c, port)
    else {
      const given = c.req.query('token')
      if (given !== undefined && c.req.method === 'GET' && equal(given, token)) {
        // Not `Strict`: of an address that was sent in a chat, the redirect to the page would come without it.
        setCookie(c, cookie, token, { httpOnly: true, sameSite: 'Lax', path: '/' })
        return c.redirect(withoutToken(new URL(c.req.url)), 303)
      }
      const bearer = /^Bearer (.+)$/i.exec(c.req.header('authorization') ?? '')?.[1]
      const known = [bearer, getCookie(c, cookie)].some((each) => each !== undefined && equal(each, token))
      if (!known) throw new ProblemError(401, 'A token is needed: open the address that choir watch printed.')
    }
    if (c.req.method === 'POST') requireOwnPost(c)
    await next()
  }
}

/** Whether only this machine reaches an address. Numbers alone are no name that a website could make point here. */
export function isLoopback(host: string): boolean {
  return /^(?:localhost|127(?:\.\d{1,3}){3}|::1|\[::1\])$/i.test(host)
}

/** Whether a request names this machine so that only it is reached. */
export const isOwnName = (c: Context): boolean => isLoopback(hostOf(c).name)

function requireOwnName(c: Context, port: number): void {
  if (isOwnName(c) && Number(hostOf(c).port) === port) return
  throw new ProblemError(
    403,
    `This server answers to localhost:${port} only. Through a tunnel take the same port at both ends, ` +
      `as in ssh -L ${port}:localhost:${port} HOST.`,
  )
}

function hostOf(c: Context): { name: string; port: string } {
  const [, name = '', port = '80'] = /^(.*?)(?::(\d+))?$/.exec(c.req.header('host') ?? '') ?? []
  return { name, port }
}

function requireOwnPost(c: Context): void {
  const type = c.req.header('content-type')?.split(';')[0]?.trim().toLowerCase()
  if (type !== 'application/json')
    throw new ProblemError(415, 'A question is sent as JSON (content-type: application/json).')
  const origin = c.req.header('origin')
  if (origin === undefined) return
  const from = URL.canParse(origin) ? new URL(origin).host : ''
  // What is standard is left out of an origin, and may stand in the host.
  const own = URL.canParse(`http://${c.req.header('host')}`)
    ? new URL(`http://${c.req.header('host')}`).host
    : undefined
  if (from !== own) throw new ProblemError(403, 'Questions are answered to the own page only.')
}

/** In a time that tells nothing of where they differ. */
function equal(a: string, b: string): boolean {
  const digest = (text: string) => createHash('sha256').update(text).digest()
  return timingSafeEqual(digest(a), digest(b))
}

/** Path and query alone: a path that begins with two slashes would be another host. */
function withoutToken({ pathname, searchParams }: URL): string {
  searchParams.delete('token')
  const query = searchParams.toString()
  return `${pathname.replace(/^\/+/, '/')}${query ? `?${query}` : ''}`
}
