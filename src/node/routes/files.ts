/** The files of a record and of its atlas. This module imports little, so that `choir --help` starts fast. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'

/** The description of a record, by which its folder is recognized. */
export const HEADER_FILE = 'routes.json'

export const rowFormats = ['jsonl', 'parquet'] as const
export type RowFormat = (typeof rowFormats)[number]

/** The table of a record. */
export const rowFile = <Format extends RowFormat>(format: Format): `routes.${Format}` => `routes.${format}`

/** How much the loss rises without each expert, if that was measured. */
export const ABLATION_FILE = 'ablation.json'
export const ATLAS_FILE = 'atlas.json'
/** The atlas to look at. */
export const PAGE_FILE = 'atlas.html'

export const holdsRoutes = (folder: string): boolean => existsSync(join(folder, HEADER_FILE))
