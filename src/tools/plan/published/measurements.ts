/** Published measurements that the planner is checked against. */
import { memoryRows } from './allocated.ts'
import { bridgeRows } from './bridge.ts'
import { fsdpRows } from './fsdp.ts'
import { maxtextRows } from './maxtext.ts'
import { megatronRows } from './megatron.ts'
import { testedRows } from './megatron-tests.ts'
import { mixtureRows } from './mixtures.ts'
import { nemoRows } from './nemo.ts'
import type { PublishedRow } from './row.ts'
import { shardedRows } from './sharded.ts'

export { type PublishedRow, programOf, publishedSeconds } from './row.ts'
export const publishedRows: readonly PublishedRow[] = [
  ...megatronRows,
  ...testedRows,
  ...shardedRows,
  ...mixtureRows,
  ...bridgeRows,
  ...nemoRows,
  ...maxtextRows,
  ...memoryRows,
  ...fsdpRows,
]
