/** The texts of a study: each read once, before its first run, and known by the hash of its tokens. */
import { UsageError } from '../errors.ts'
import type { RunConfig } from '../train/config.ts'
import { openRunData } from '../train/session.ts'
import type { Cell } from './contract.ts'
import type { Ledger } from './ledger.ts'

/** Names the text and tokens that a configuration reads. */
export const corpusOf = ({ data, model }: RunConfig): string =>
  JSON.stringify([{ ...data, order: undefined }, model.vocabulary, model.sequence])

/**
 * Reads every text once, before processes want it at the same time. Null when that was interrupted.
 * @throws UsageError when finished runs saw another text
 */
export async function prepareCorpora(
  cells: readonly Cell[],
  ledger: Ledger,
  say: (message: string) => void,
  signal: AbortSignal,
): Promise<Map<string, string> | null> {
  const hashes = new Map<string, string>()
  for (const { key, config } of cells) {
    const corpus = corpusOf(config)
    if (!hashes.has(corpus)) {
      try {
        const data = await openRunData(config, { say, signal })
        hashes.set(corpus, data.hash)
        await data.close()
      } catch (error) {
        if (signal.aborted) return null
        throw error
      }
    }
    const record = ledger.find(key, config)
    if (record?.status === 'finished' && record.corpus !== hashes.get(corpus)) {
      const source = [config.data.source].flat().join(', ')
      throw new UsageError(
        `the text of "${source}" has changed since runs of this study were done (${ledger.file}): ` +
          'losses on two texts cannot be compared. Restore the text, or give another --out',
      )
    }
  }
  return hashes
}
