/** Requests to the server of models that no client makes. */
import fc from 'fast-check'
import { afterAll, expect, test } from 'vitest'
import { createRuntime } from '../../src/engine/cpu/cpu-runtime.ts'
import { createServeApp } from '../../src/faces/serve/app.ts'
import { serveSmall, smallModel } from '../../src/faces/serve/testing/small-model.ts'
import { fuzzTimeout, runs } from '../support/soak.ts'
import { faultOf } from './outcome.ts'
import { anyJson, anyText, changed } from './values.ts'

const runtime = await createRuntime({ threads: 1 })
const served = serveSmall(await smallModel(runtime), 'demo', 20)
afterAll(async () => {
  await served.close(new Error('the tests have ended'))
  await runtime.close()
})

const host = 'localhost:8000'
const completion = {
  ...{ model: 'demo', prompt: 'a', max_tokens: 2, temperature: 1, top_p: 1, top_k: 5, n: 1, seed: 1, stop: ['x'] },
  ...{ stream: false, stream_options: { include_usage: true }, echo: true, logprobs: 1, choir: { routing: true } },
}
const chat = {
  ...{ model: 'demo', messages: [{ role: 'user', content: [{ type: 'text', text: 'a' }] }], max_tokens: 1 },
  ...{ logprobs: true, top_logprobs: 2, response_format: { type: 'text' } },
}
const schema = {
  type: 'object',
  properties: { a: { type: 'string', maxLength: 3 }, b: { anyOf: [{ $ref: '#' }, { enum: [1, null] }] } },
}
const formed = {
  ...completion,
  response_format: { type: 'json_schema', json_schema: { name: 'a', schema, strict: true } },
}

test(
  'any request is answered in the shape of OpenAI, and never by a failure of the server',
  async () => {
    const app = createServeApp({ port: 8000, token: undefined })
    app.serveModels([served])
    // A text of 65,536 tokens, which a request may ask for, would take the time of the test.
    const short = (body: unknown) => {
      const { max_tokens, n } = (body ?? {}) as { max_tokens?: unknown; n?: unknown }
      return !(typeof max_tokens === 'number' && max_tokens > 100) && !(typeof n === 'number' && n > 10)
    }
    const bodies = fc.oneof(changed(completion), changed(chat), changed(formed), anyJson).filter(short)
    const request = fc.tuple(
      fc.constantFrom('/v1/completions', '/v1/chat/completions'),
      fc.oneof(
        bodies.map((body) => JSON.stringify(body) ?? ''),
        anyText,
      ),
    )
    await fc.assert(
      fc.asyncProperty(request, async ([path, body]) => {
        const headers = { host, 'content-type': 'application/json' }
        const answer = await app.fetch(new Request(`http://${host}${path}`, { method: 'POST', headers, body }))
        const text = await answer.text()
        expect(answer.status, text).toBeLessThan(500)
        if (answer.status >= 400) expect(JSON.parse(text)).toHaveProperty('error.message')
        expect(faultOf({ code: 0, stderr: answer.status >= 400 ? text : '' })).toBeNull()
      }),
      runs(300, 'request'),
    )
  },
  fuzzTimeout,
)
