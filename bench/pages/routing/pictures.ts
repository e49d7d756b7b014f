/** The pictures of docs/routing.md, drawn from the recorded runs: their files and texts. */
import { FILE_MARGIN, svgFile } from '../../../src/tools/report/figures/drawing.ts'
import { routingBody, routingStyle } from './figure.ts'
import type { RoutingRecord } from './record.ts'

/** Widths of files in pixels: beside the sidebar of a README on GitHub, and the text of a page on a telephone. */
const widths = { '': 832, '-narrow': 358 } as const

/** @returns files, relative to the repository, with their contents */
export const routingPictures = (record: RoutingRecord): { readonly file: string; readonly svg: string }[] =>
  Object.entries(widths).map(([suffix, outer]) => {
    const width = outer - 2 * FILE_MARGIN
    const caption = 'Eight tokens, a router and sixteen experts, in four trained models.'
    const frame = { name: `routing${suffix}`, caption, width }
    return { file: `docs/pictures/routing${suffix}.svg`, svg: svgFile(routingBody(record, width), frame, routingStyle) }
  })
