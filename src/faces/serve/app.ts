/**
 * The server of models as a function from requests to responses, in the shape of OpenAI's API. Requests name models by
 * ids; nothing in a request becomes a path.
 */
import { type Context, Hono } from 'hono'
import { bodyLimit } from 'hono/body-limit'
import { isFields } from '../../core/config/fields.ts'
import { expectPlain } from '../../core/config/plain.ts'
import { formatValue } from '../../core/config/problems.ts'
import { joinWords } from '../../core/text/numbers.ts'
import { renderChat } from '../../use/runs/chat/render.ts'
import { bearerOf, isSameSecret, requireLoopbackName, requireOwnPost } from '../http/senders.ts'
import type { Access } from '../http/serve.ts'
import { ApiError, apiErrorOf, bodyOf } from './api-error.ts'
import { chatFormat, completionFormat, type Format } from './formats.ts'
import { Limiter } from './limiter.ts'
import { Measured } from './measured.ts'
import { type Plan, planOf } from './plan.ts'
import { chatPrompt, givenPrompts, messagesOf, promptOf } from './prompts.ts'
import { chatFields, completionFields, parseFields } from './request-fields.ts'
import { gone, queueFull, respond } from './respond.ts'
import { schemaOf } from './response-format.ts'
import type { ServedModel } from './served-model.ts'
import { REFRESH, trafficJson, trafficPage } from './traffic-page.ts'

/** Limit of a request: 128 prompts of some thousand tokens. */
const MAX_REQUEST_BYTES = 1 << 22
/** Number of chat templates that are rendered at the same time: each has a thread, and memory of up to 256 MiB. */
const MAX_RENDERED = 2

export interface ServeApp {
  fetch(request: Request): Response | Promise<Response>
  /** Models that are loaded; until then every request for a model is answered with 503. */
  serveModels(models: readonly ServedModel[]): void
  /** Refuses requests from now on. Resolves when the running ones have ended, after `ms` milliseconds at the latest. */
  drain(ms: number): Promise<void>
  readonly measured: Measured
}

export function createServeApp(rules: Access): ServeApp {
  const measured = new Measured()
  const rendering = new Limiter(MAX_RENDERED)
  let models: readonly ServedModel[] = []
  let state: 'loading' | 'ok' | 'stopping' = 'loading'
  const app = new Hono()
  app.use(async (c, next) => {
    await next()
    c.res.headers.set('x-content-type-options', 'nosniff')
    if (!c.res.headers.has('cache-control')) c.res.headers.set('cache-control', 'no-store')
    measured.answered(c.req.path, c.res.status)
  })
  app.use(async (c, next) => {
    if (rules.token === undefined) requireLoopbackName(c, rules.port)
    // Probes of a load balancer have no key, and learn nothing else.
    else if (c.req.path !== '/health') requireKey(c, rules.token)
    if (c.req.method === 'POST') requireOwnPost(c, 'Requests from web pages of other sites are not accepted.')
    await next()
  })
  app.get('/health', (c) => c.json({ status: state }, state === 'ok' ? 200 : 503))
  app.get('/', (c) => {
    // A browser loads the page again with this header; the page itself has no scripts.
    c.header('refresh', String(REFRESH))
    return c.html(trafficPage(models))
  })
  app.get('/metrics', (c) => c.body(measured.text(models), 200, { 'content-type': 'text/plain; version=0.0.4' }))
  app.use('/v1/*', async (_, next) => {
    if (state === 'loading') throw new ApiError(503, 'The models are being loaded.', { code: 'loading' })
    if (state === 'stopping') throw stopping()
    await next()
  })
  app.get('/v1/models', (c) => c.json({ object: 'list', data: models.map(describe) }))
  app.get('/v1/models/:model{.+}', (c) => c.json(describe(modelOf(models, c.req.param('model')))))
  app.get('/v1/choir/experts', (c) => c.json(trafficJson(models)))
  app.post('/v1/*', bodyLimit({ maxSize: MAX_REQUEST_BYTES, onError: tooLarge }))
  app.post('/v1/completions', async (c) => {
    const { prompt, ...rest } = await bodyFields(c)
    const fields = parseFields(completionFields, rest)
    const served = ready(models, fields.model)
    const { tokenizer, config } = served.model
    const given = givenPrompts(prompt)
    const prompts = []
    for (const each of given) prompts.push(await promptOf(each, tokenizer, config.model.sequence))
    const top = fields.logprobs ?? null
    const echo = fields.echo ?? false
    const plan = planOf(served, prompts, fields, {
      tokens: fields.max_tokens ?? 16,
      top,
      ratesPrompt: echo && top !== null,
      schema: schemaOf(fields, tokenizer),
    })
    return answer(c, plan, completionFormat({ tokenizer, rated: top !== null, echo }))
  })
  app.post('/v1/chat/completions', async (c) => {
    const { messages, ...rest } = await bodyFields(c)
    const fields = parseFields(chatFields, rest)
    const served = ready(models, fields.model)
    const { tokenizer, config } = served.model
    const { sequence } = config.model
    const chat = messagesOf(messages)
    if (tokenizer.rules.chatTemplate === null)
      throw new ApiError(
        400,
        `the model ${formatValue(served.id)} has no chat template, so it is no chat model (send a text to continue to /v1/completions)`,
        { param: 'model', code: 'no_chat_template' },
      )
    const { signal } = c.req.raw
    const render = () => renderChat(tokenizer.rules, chat, served.id, { signal })
    const prompt = await chatPrompt(await rendering.run(render), tokenizer, sequence)
    const top = fields.logprobs ? (fields.top_logprobs ?? 0) : null
    if (!fields.logprobs && fields.top_logprobs)
      throw new ApiError(400, `invalid top_logprobs: ${fields.top_logprobs} (expected "logprobs": true with it)`, {
        param: 'top_logprobs',
      })
    const tokens = fields.max_completion_tokens ?? fields.max_tokens ?? Math.max(1, sequence - prompt.ids.length)
    const plan = planOf(served, [prompt], fields, {
      tokens,
      top,
      ratesPrompt: false,
      schema: schemaOf(fields, tokenizer),
    })
    return answer(c, plan, chatFormat({ tokenizer, rated: top !== null, echo: false }))
  })
  app.notFound((c) => errorResponse(c, new ApiError(404, `There is nothing at ${c.req.method} ${c.req.path}.`)))
  app.onError((error, c) => {
    const isGone = c.req.raw.signal.aborted && !(error instanceof ApiError)
    return errorResponse(c, isGone ? gone() : apiErrorOf(error))
  })

  const answer = async (c: Context, plan: Plan, format: Format): Promise<Response> => {
    const request = measured.begin(c.req.path)
    try {
      const response = await respond(plan, format, c.req.raw.signal, request)
      if (!plan.stream) request.onEnd()
      return response
    } catch (error) {
      request.onEnd()
      throw error
    }
  }
  return {
    fetch: (request) => app.fetch(request),
    measured,
    serveModels(loaded) {
      models = loaded
      if (state === 'loading') state = 'ok'
    },
    async drain(ms) {
      state = 'stopping'
      await measured.idle(ms)
    },
  }
}

export const stopping = (): ApiError => new ApiError(503, 'The server is stopping.', { code: 'server_stopping' })

/**
 * The key of a request. For the page, a browser asks for a name and a password, and the password is the key. A browser
 * sends it with requests of other pages too, so nothing else takes it.
 */
function keyOf(c: Context): string | undefined {
  const [, basic] = /^Basic (.+)$/i.exec(c.req.header('authorization') ?? '') ?? []
  if (basic === undefined || c.req.path !== '/') return bearerOf(c)
  const pair = Buffer.from(basic, 'base64').toString('utf8')
  return pair.slice(pair.indexOf(':') + 1)
}

function requireKey(c: Context, token: string): void {
  const key = keyOf(c)
  if (key !== undefined && isSameSecret(key, token)) return
  throw new ApiError(
    401,
    key === undefined
      ? 'A key is needed, the --token of choir serve (send it as a header: Authorization: Bearer KEY).'
      : 'The key is wrong.',
    { code: 'invalid_api_key' },
  )
}

const tooLarge = (): never => {
  throw new ApiError(413, `A request may have at most ${MAX_REQUEST_BYTES} bytes.`)
}

async function bodyFields(c: Context): Promise<Record<string, unknown>> {
  // The limit of the body is noticed when it is read.
  const bytes = await c.req.arrayBuffer()
  let body: unknown
  try {
    // A prompt with other characters than those that were sent would be answered as if nothing were wrong.
    body = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch (error) {
    throw new ApiError(400, `The request is not ${error instanceof SyntaxError ? 'JSON' : 'UTF-8'}.`)
  }
  if (!isFields(body)) throw new ApiError(400, `invalid request: ${formatValue(body)} (expected an object)`)
  // JSON can be read at any depth, and written or shown only as deep as the stack allows.
  expectPlain(body, 'request')
  return body
}

/** The model of a request, which may be left out if there is only one. */
function modelOf(models: readonly ServedModel[], id: string | undefined): ServedModel {
  const [only, ...others] = models
  const found = id === undefined && others.length === 0 ? only : models.find((model) => model.id === id)
  if (found) return found
  const ids = joinWords(
    models.map((model) => formatValue(model.id)),
    'or',
  )
  if (id === undefined) throw new ApiError(400, `missing model (expected ${ids})`, { param: 'model' })
  throw new ApiError(404, `the model ${formatValue(id)} does not exist (expected ${ids})`, {
    param: 'model',
    code: 'model_not_found',
  })
}

/** The model of a request, if it can take one. */
function ready(models: readonly ServedModel[], id: string | undefined): ServedModel {
  const served = modelOf(models, id)
  if (served.scheduler.isFull) throw queueFull()
  return served
}

const describe = ({ id, model, since }: ServedModel) => ({
  id,
  object: 'model',
  created: since,
  owned_by: 'choir',
  choir: {
    step: model.step,
    context: model.config.model.sequence,
    vocabulary: model.tokenizer.vocabulary,
    weights: model.weights,
    chat: model.tokenizer.rules.chatTemplate !== null,
  },
})

function errorResponse(c: Context, error: ApiError): Response {
  if (error.status === 429) c.header('retry-after', '1')
  // A browser asks a person for a key that it gets by `Basic`; programs know `Bearer`.
  if (error.status === 401) c.header('www-authenticate', c.req.path === '/' ? 'Basic realm="choir serve"' : 'Bearer')
  return c.json(bodyOf(error), error.status)
}
