/**
 * Decides who may send requests to a page. There are two modes:
 *
 * - Without a token, only this machine may (`senders.ts`).
 * - With a token, every client that has it is served, under any name. The token arrives once in the address and moves
 *   into a cookie. Scripts cannot read it, and from other sites it is sent only when a link is followed. Programs send
 *   the token as a Bearer token.
 */
import type { MiddlewareHandler } from 'hono'
import { getCookie, setCookie } from 'hono/cookie'
import { ProblemError } from '../../http/problem.ts'
import { bearerOf, isSameSecret, requireLoopbackName, requireOwnPost } from '../../http/senders.ts'
import type { Access } from '../../http/serve.ts'

export function access({ port, token }: Access): MiddlewareHandler {
  // Browsers send the cookies of a host to all its ports.
  const cookie = `choir-${port}`
  return async (c, next) => {
    if (token === undefined) requireLoopbackName(c, port)
    else {
      const addressToken = c.req.query('token')
      if (addressToken !== undefined && c.req.method === 'GET' && isSameSecret(addressToken, token)) {
        // Not `Strict`: when the address is opened from a chat, the redirected request would lack the cookie.
        setCookie(c, cookie, token, { httpOnly: true, sameSite: 'Lax', path: '/' })
        return c.redirect(withoutToken(new URL(c.req.url)), 303)
      }
      const isKnown = [bearerOf(c), getCookie(c, cookie)].some(
        (each) => each !== undefined && isSameSecret(each, token),
      )
      if (!isKnown) throw new ProblemError(401, 'A token is needed: open the address that choir watch printed.')
    }
    if (c.req.method === 'POST') requireOwnPost(c, "Only requests from the dashboard's own page are accepted.")
    await next()
  }
}

/** Path and query of an address. A path that begins with two slashes would lead to another host. */
function withoutToken({ pathname, searchParams }: URL): string {
  searchParams.delete('token')
  const query = searchParams.toString()
  return `${pathname.replace(/^\/+/, '/')}${query ? `?${query}` : ''}`
}
