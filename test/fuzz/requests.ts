/** Requests to the dashboard that no page makes. */
import fc from 'fast-check'
import { anyJson, anyText } from './values.ts'

const paths = ['/', '/api/collection', '/api/series', '/api/routing', '/api/routing/loads', '/api/routing/history']
const more = ['/api/routing/summary', '/api/ranks', '/api/documents', '/api/trace', '/api/top-tokens', '/assets/x.js']
const wrong = ['/api', '/api/', '//', '/../../etc/passwd', '/%2e%2e/x', '/%ff', '/api/series/', '/a'.repeat(2000)]
const fields = [
  'run',
  'runs',
  'metric',
  'x',
  'from',
  'to',
  'points',
  'smoothing',
  'router',
  'span',
  'step',
  'text',
  'a',
]
const ids = ['a1', 't1', 'd1', 'w1', 'gone']

export interface AnyRequest {
  readonly path: string
  readonly init: { readonly method: string; readonly headers: Record<string, string>; readonly body?: string }
}

const query = fc
  .array(fc.tuple(fc.oneof(fc.constantFrom(...fields), anyText), fc.oneof(fc.constantFrom(...ids), anyText)), {
    maxLength: 5,
  })
  .map((pairs) => pairs.map(([key, value]) => `${encode(key)}=${encode(value)}`).join('&'))

/** Encodes a text for an address. A lone surrogate has no encoding, and is replaced. */
const encode = (text: string): string => encodeURIComponent(text.replace(/\p{Surrogate}/gu, '?'))

const body = fc.oneof(
  fc
    .dictionary(
      fc.constantFrom('run', 'text', 'document', 'router', 'expert', '__proto__'),
      fc.oneof(fc.constantFrom(...ids), anyJson),
    )
    .map((value) => JSON.stringify(value)),
  anyJson.map((value) => JSON.stringify(value) ?? ''),
  anyText,
)

/** @param host Host of the server. */
export const anyRequest = (host: string): fc.Arbitrary<AnyRequest> =>
  fc
    .tuple(
      fc.constantFrom(...paths, ...more, ...wrong),
      query,
      fc.constantFrom('GET', 'POST', 'PUT', 'DELETE', 'HEAD', 'OPTIONS', 'PATCH'),
      body,
      fc.constantFrom('application/json', 'text/plain', ''),
    )
    .map(([path, query, method, body, type]) => ({
      path: query === '' ? path : `${path}?${query}`,
      init: {
        method,
        headers: { host, ...(type !== '' && { 'content-type': type }) },
        ...(method !== 'GET' && method !== 'HEAD' && { body }),
      },
    }))
