/** The texts of a study: each is read once, before the first run, and identified by the hash of its tokens. */
import type { RunConfig } from '../../../core/config/run-config.ts'
import { option, UsageError, wording } from '../../../core/errors.ts'
import { openRunData } from '../../../node/run/session.ts'
import type { Cell } from '../contract.ts'
import type { StudyEvent } from '../events.ts'
import { isShort } from '../grid/cells.ts'
import type { Ledger } from '../results/ledger.ts'

export interface Corpora {
  /** Hash of the text that is trained on and held out. */
  readonly own: string
  /** Hashes of other texts, by the name of the source. */
  readonly elsewhere: Readonly<Record<string, string>>
}

/** Identifies the text and tokens that a configuration reads. */
export const corpusOf = ({ data, model }: RunConfig): string =>
  JSON.stringify([{ ...data, order: undefined }, model.vocabulary, model.sequence])

/** The texts by source and tokens, to be compared with the texts of other processes. */
export function textsOf(cells: readonly Cell[], corpora: ReadonlyMap<string, Corpora>): Record<string, Corpora> {
  const texts: Record<string, Corpora> = {}
  for (const { config } of cells) {
    const { vocabulary, sequence } = config.model
    const found = corpora.get(corpusOf(config))
    if (found) texts[`${sourceOf(config)}, vocabulary ${vocabulary}, sequence ${sequence}`] = found
  }
  return texts
}

/**
 * Reads every text once, so that the processes of runs find it in the cache. Returns null when interrupted.
 * @param elsewhere Other text that every run is evaluated on.
 * @throws UsageError when a text cannot be read, or has changed since runs finished
 */
export async function prepareCorpora(
  cells: readonly Cell[],
  elsewhere: readonly string[],
  ledger: Ledger,
  signal: AbortSignal,
  emit: (event: StudyEvent) => void,
): Promise<ReadonlyMap<string, Corpora> | null> {
  const corpora = new Map<string, Corpora>()
  const unseen = new Map<string, number>()
  for (const cell of cells) {
    const { key, config } = cell
    const name = corpusOf(config)
    let found = corpora.get(name)
    if (!found) {
      try {
        found = await read(config, elsewhere, signal, emit)
        corpora.set(name, found)
      } catch (error) {
        if (signal.aborted) return null
        throw error
      }
    }
    const record = ledger.find(key, config)
    if (record?.status !== 'finished') continue
    if (record.corpus !== found.own) throw textChanged(sourceOf(config), ledger)
    // Short trainings are not evaluated on other text.
    for (const other of isShort(cell) ? [] : elsewhere) {
      const seen = record.elsewhereCorpora?.[other]
      if (record.elsewhere[other] === undefined) unseen.set(other, (unseen.get(other) ?? 0) + 1)
      else if (seen !== undefined && seen !== found.elsewhere[other]) throw textChanged(other, ledger)
    }
  }
  for (const [other, runs] of unseen) {
    const message = `${runs} runs were done before "${other}" was added, and are not evaluated on it`
    emit({ kind: 'note', message })
  }
  return corpora
}

const sourceOf = ({ data }: RunConfig): string => [data.source].flat().join(', ')

async function read(
  config: RunConfig,
  elsewhere: readonly string[],
  signal: AbortSignal,
  emit: (event: StudyEvent) => void,
): Promise<Corpora> {
  const shared = {
    onProgress: (message: string) => emit({ kind: 'prepare', message }),
    onNotice: (message: string) => emit({ kind: 'note', message }),
    signal,
  }
  const data = await openRunData(config, shared)
  try {
    const hashes: Record<string, string> = {}
    for (const source of elsewhere) {
      const other = { ...config, data: { ...config.data, source } }
      const text = await openRunData(other, { ...shared, tokenizer: data.tokenizer, holdOutAll: true })
      hashes[source] = text.hash
      await text.close()
    }
    return { own: data.hash, elsewhere: hashes }
  } finally {
    await data.close()
  }
}

const textChanged = (source: string, ledger: Ledger): UsageError =>
  new UsageError(
    wording`the text of "${source}" has changed since runs of this study were done (${ledger.file}): losses on two texts cannot ${wording`be compared. Restore the text, or give another ${option('directory')}`}`,
  )
