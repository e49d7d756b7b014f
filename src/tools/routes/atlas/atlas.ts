/**
 * The atlas of a record: what every expert of every router takes. It reads the record twice and needs no model. It
 * is written beside the record: `atlas.json`, and `atlas.html` to look at.
 *
 * Intervals show how much a number would differ for other documents of the same domains: groups of whole documents are
 * drawn, as for the losses of a study (`tools/study/bootstrap.ts`). What is listed for an expert was chosen because it
 * stands out, so the intervals of listed tokens and partners are those of single comparisons.
 */

import { join } from 'node:path'
import { grouped } from '../../../core/text/numbers.ts'
import { ATLAS_FILE, PAGE_FILE } from '../../../node/routes/files.ts'
import type { RoutedToken } from '../../../node/routes/format.ts'
import { type RoutesRecord, readRoutes } from '../../../node/routes/read-routes.ts'
import { writeOutput } from '../../../node/system/output-file.ts'
import { dealDocuments } from '../../../train/data/document-groups.ts'
import { Pace } from '../../../train/data/streams/progress.ts'
import type { OnMessage } from '../../../train/run/messages.ts'
import { CONFIDENCE, TextDraws } from '../../study/bootstrap.ts'
import { type Ablation, readAblation } from '../ablation.ts'
import { ATLAS_FORMAT, type Atlas, type RouterAtlas } from './contract.ts'
import { RecordCounts } from './counts.ts'
import { Listings } from './listed.ts'
import { atlasPage } from './page.ts'
import { type AtlasText, routerAtlas } from './router-atlas.ts'

/** Maximum number of groups of documents. With sixteen domains of equal size, each has eight, enough for an interval. */
const GROUPS = 128

export interface AtlasOptions {
  readonly signal?: AbortSignal
  readonly onMessage?: OnMessage
}

/**
 * Writes the atlas of the record in a folder. Files of an earlier atlas are replaced.
 * @throws UsageError if the folder has no record; RunError if the record is damaged
 */
export async function writeAtlas(folder: string, { signal, onMessage = () => {} }: AtlasOptions = {}): Promise<Atlas> {
  const record = await readRoutes(folder)
  const total = grouped(2 * record.header.tokens)
  const pace = new Pace()
  const ablation = await readAblation(folder)
  const counted = await atlasOf(record, signal, (read) => {
    if (pace.due() !== undefined) onMessage({ kind: 'prepare', message: `counted ${grouped(read)} of ${total} tokens` })
  })
  const atlas = ablation ? withAblation(counted, ablation) : counted
  await writeOutput(join(folder, ATLAS_FILE), `${JSON.stringify(atlas, null, 1)}\n`)
  await writeOutput(join(folder, PAGE_FILE), atlasPage(atlas))
  return atlas
}

/** The atlas with the ablation of experts, which was measured apart from the record. */
function withAblation(atlas: Atlas, { tokens, batches, loss, routers }: Ablation): Atlas {
  const of = ({ layer, module }: RouterAtlas) =>
    module === 'ffn' ? routers.find((measured) => measured.layer === layer)?.experts : undefined
  return {
    ...atlas,
    ablation: { tokens, batches, loss },
    routers: atlas.routers.map((router) => ({
      ...router,
      of: router.of.map((expert) => {
        const ablation = of(router)?.[expert.expert]
        return ablation ? { ...expert, ablation } : expert
      }),
    })),
  }
}

/** @param onToken Called with the number of tokens read, of both passes. */
export async function atlasOf(
  { header, tokens }: RoutesRecord,
  signal?: AbortSignal,
  onToken: (read: number) => void = () => {},
): Promise<Atlas> {
  const { groups, domains, groupOf } = dealDocuments(header.documents, GROUPS)
  const groupOfDocument = new Map(header.documents.map(({ document }, i) => [document, groupOf[i] as number]))
  const counts = new RecordCounts(header.routers, groups)
  let read = 0
  const pass = async (add: (token: RoutedToken, group: number) => void) => {
    for await (const token of tokens()) {
      add(token, groupOfDocument.get(token.document) as number)
      if (++read % 1024 > 0) continue
      signal?.throwIfAborted()
      onToken(read)
    }
  }
  await pass((token, group) => counts.add(token, group))
  const listings = new Listings(counts)
  await pass((token, group) => listings.add(token, group))

  let first = 0
  const named = domains.map(({ name, groups }) => {
    const own = Array.from({ length: groups }, () => first++)
    return { name, groups: own }
  })
  const draws = new TextDraws(named.flatMap(({ groups }, domain) => groups.map(() => domain)))
  const text: AtlasText = {
    counts,
    listings,
    draws,
    domains: named,
    tokens: header.tokens,
    tokens_D: draws.sums(counts.tokens_G),
    occurrences_D: new Map(),
  }
  return {
    kind: 'atlas',
    format: ATLAS_FORMAT,
    record: { model: header.model, text: header.text, capacity: header.capacity, loss: header.loss },
    tokens: header.tokens,
    documents: header.documents.length,
    groups,
    confidence: CONFIDENCE,
    domains: named.map(({ name, groups: own }, i) => ({
      name,
      documents: domains[i]?.documents.length ?? 0,
      tokens: own.reduce((sum, group) => sum + (counts.tokens_G[group] as number), 0),
    })),
    routers: header.routers.map((_, index) => routerAtlas(index, text)),
  }
}
