/** Makes the atlas of a record, and writes it beside the record: `atlas.json`, and `atlas.html` to look at. */
import { join } from 'node:path'
import { grouped } from '../../../core/text/numbers.ts'
import { ATLAS_FILE, PAGE_FILE } from '../../../node/routes/files.ts'
import { readRoutes } from '../../../node/routes/read-routes.ts'
import { writeOutput } from '../../../node/system/output-file.ts'
import { Pace } from '../../../train/data/streams/progress.ts'
import type { OnMessage } from '../../../train/run/messages.ts'
import { type Ablation, readAblation } from '../ablation.ts'
import { atlasOf } from './atlas.ts'
import type { Atlas, RouterAtlas } from './contract.ts'
import { atlasPage } from './page.ts'

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
