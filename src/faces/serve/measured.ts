/** What the server measures of itself: requests, tokens, durations, and what runs and waits now. */
import type { Computed } from '../../use/infer/streams/scheduler.ts'
import { Metrics } from './metrics.ts'
import type { Progress } from './respond.ts'
import type { ServedModel } from './served-model.ts'

/** Paths that are counted by name; all others count as one, since they are of clients' making. */
const endpoints = new Set([
  '/',
  '/v1/choir/experts',
  '/v1/models',
  '/v1/completions',
  '/v1/chat/completions',
  '/health',
  '/metrics',
])

export class Measured {
  private readonly metrics = new Metrics()
  private running = 0
  private readonly idlers = new Set<() => void>()
  private models: readonly ServedModel[] = []

  constructor() {
    const each = (read: (model: ServedModel) => number) => () =>
      this.models.map((model): [{ model: string }, number] => [{ model: model.id }, read(model)])
    const { metrics } = this
    metrics.gauge('choir_requests_running', 'Requests for texts that have not ended.', () => [[{}, this.running]])
    metrics.gauge(
      'choir_texts_running',
      'Texts that are being written.',
      each(({ scheduler }) => scheduler.active),
    )
    metrics.gauge(
      'choir_texts_waiting',
      'Texts that wait for a place.',
      each(({ scheduler }) => scheduler.queued),
    )
    metrics.gauge(
      'choir_context_pages',
      'Pages for keys and values, of at most 64 tokens each.',
      each(({ scheduler }) => scheduler.pages.all),
    )
    metrics.gauge(
      'choir_context_pages_in_use',
      'Pages of texts that are being written.',
      each(({ scheduler }) => scheduler.pages.inUse),
    )
    metrics.gauge(
      'choir_context_pages_kept',
      'Other pages, of prompts that are kept for later texts.',
      each(({ scheduler }) => scheduler.pages.kept),
    )
  }

  /** Counts a response. */
  answered(path: string, status: number): void {
    const endpoint = endpoints.has(path) ? path : 'other'
    this.metrics.add('choir_requests_total', 'Requests by their status.', { endpoint, status })
  }

  /** Counts tokens that were computed for a model, and the time that it took. */
  computed(model: string, { read, reused, written, ms }: Computed): void {
    const { metrics } = this
    metrics.add('choir_prompt_tokens_total', 'Tokens of prompts that were read.', { model }, read)
    metrics.add(
      'choir_reused_prompt_tokens_total',
      'Tokens of prompts that were not read, because an earlier text had the same beginning.',
      { model },
      reused,
    )
    metrics.add('choir_written_tokens_total', 'Tokens that were written.', { model }, written)
    metrics.add('choir_compute_seconds_total', 'Seconds in which a model was computed.', { model }, ms / 1000)
  }

  /** Begins a request for texts. */
  begin(endpoint: string): Progress {
    const began = performance.now()
    const seconds = () => (performance.now() - began) / 1000
    let isOpen = true
    this.running++
    return {
      onFirst: () =>
        this.metrics.observe('choir_first_token_seconds', 'Seconds to the first token.', { endpoint }, seconds()),
      onEnd: () => {
        if (!isOpen) return
        isOpen = false
        this.running--
        this.metrics.observe('choir_request_seconds', 'Seconds to the end of the response.', { endpoint }, seconds())
        if (this.running === 0) for (const idle of this.idlers) idle()
      },
    }
  }

  /** Resolves when no request runs, after `ms` milliseconds at the latest. */
  async idle(ms: number): Promise<void> {
    if (this.running === 0) return
    let timer: NodeJS.Timeout | undefined
    await new Promise<void>((resolve) => {
      this.idlers.add(resolve)
      timer = setTimeout(resolve, ms)
    })
    clearTimeout(timer)
  }

  text(models: readonly ServedModel[]): string {
    this.models = models
    return this.metrics.text()
  }
}
