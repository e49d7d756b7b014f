/**
 * The text to train on. Both sides train on the same tokens, so the text is read and tokenized once, in a worker of its
 * own, and kept until another text or another size of vocabulary is asked for.
 */
import { signal } from '@preact/signals'
import { type ConfigInput, type PageText, type PreparedText, TrainingWorker } from '../../src/faces/library/web.ts'
import { startWorker } from './live-run.ts'

/** The visitor's own text; null for the speeches. */
export const ownText = signal<{ readonly name: string; readonly content: string } | null>(null)

/** The speeches: a compressed file beside the page, which is so large that it is loaded only when it is needed. */
export async function speeches(): Promise<PageText> {
  const answer = await fetch('./speeches.bin').catch(() => null)
  if (!answer?.ok || !answer.body) throw new Error('The speeches cannot be loaded: is the page still served?')
  const unpacked = new Response(answer.body.pipeThrough(new DecompressionStream('gzip')))
  return { name: 'sotu', documents: await unpacked.json() }
}

interface Kept {
  /** The text and the settings that the tokens depend on. */
  readonly key: string
  readonly prepared: Promise<PreparedText>
}

let kept: Kept | null = null

/** Progress of the preparation that is under way. */
export const progress = signal('')

/** The text as tokens for a configuration. */
export function preparedText(config: ConfigInput): Promise<PreparedText> {
  const own = ownText.value
  const key = JSON.stringify([config.model?.vocabulary, own])
  if (kept?.key !== key) {
    const prepared = prepare(config, own)
    kept = { key, prepared }
    // A text that failed is prepared again when it is asked for again.
    prepared.catch(() => {
      if (kept?.prepared === prepared) kept = null
    })
  }
  return kept.prepared
}

async function prepare(config: ConfigInput, own: PageText | null): Promise<PreparedText> {
  if (!own) progress.value = 'loading the speeches'
  const text = own ?? (await speeches())
  const port = startWorker()
  const worker = new TrainingWorker(port, (event) => {
    if ('message' in event) progress.value = event.message
  })
  try {
    return await worker.prepare({ config, text })
  } finally {
    progress.value = ''
    port.terminate?.()
  }
}
