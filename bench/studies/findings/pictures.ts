/** The pictures of docs/findings.md and README.md, drawn from committed results: their files and texts. */
import type { Body } from '../../../src/tools/report/figures/body.ts'
import { FILE_MARGIN, svgFile } from '../../../src/tools/report/figures/drawing.ts'
import { fileIn } from '../../support/results.ts'
import { studyRuns } from '../../support/study-runs.ts'
import { type ShownClaims, shownClaims } from './claims.ts'
import { claimStyle, claimsBody } from './claims-figure.ts'
import { type MapPanel, mapBody, mapPanels } from './map-figure.ts'

export interface Picture {
  /** The file, relative to the repository. */
  readonly file: string
  readonly svg: string
}

/**
 * Widths of files in pixels: a README on GitHub beside its sidebar, and the text of a page on a telephone. Pictures are
 * shown there without being scaled, so that their letters keep their size.
 */
const widths = { '': 832, '-narrow': 358 } as const

const captions = {
  claims: 'Claims about sparse experts, tested with small models: effects with their 95 % intervals over seeds.',
  map: 'Gain of experts over a dense model with as many active parameters, by tokens for each active parameter.',
} as const

/** What the pictures show: effects of claims, and the panels of the map. */
export interface Findings {
  readonly claims: ShownClaims
  readonly panels: readonly MapPanel[]
}

/** The findings of the studies in docs/results. */
export async function findingsInResults(): Promise<Findings> {
  const [study, further, longer, bySize, map] = await Promise.all(
    ['m6t-quick', 'quick-seeds', 'claims', 'claims-size', 'map'].map((name) =>
      studyRuns(fileIn(`docs/results/${name}`)),
    ),
  )
  if (!study || !further || !longer || !bySize || !map) throw new Error('internal: a study is missing')
  return { claims: shownClaims(study, further, longer, bySize), panels: mapPanels(map) }
}

export function picturesOf({ claims, panels }: Findings): Picture[] {
  return Object.entries(widths).flatMap(([suffix, outer]) => {
    const width = outer - 2 * FILE_MARGIN
    const picture = (name: keyof typeof captions, body: Body, style?: string): Picture => ({
      file: `docs/pictures/${name}${suffix}.svg`,
      svg: svgFile(body, { name: `${name}${suffix}`, caption: captions[name], width }, style),
    })
    return [picture('claims', claimsBody(claims, width), claimStyle), picture('map', mapBody(panels, width))]
  })
}
