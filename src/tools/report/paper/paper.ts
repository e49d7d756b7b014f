/**
 * A report in the files that a paper needs: every table as LaTeX and CSV, the report as LaTeX, its sources as BibTeX, and
 * every figure as SVG, from which a PDF is drawn.
 */
import type { Block } from '../blocks.ts'
import { widths } from '../figures/body.ts'
import { standaloneSvg } from '../figures/drawing.ts'
import type { Report } from '../report.ts'
import { uniqueNames } from '../unique-names.ts'
import { bibliography, type StudyCitation } from './bibliography.ts'
import { csvOf } from './csv.ts'
import { type PaperBlock, texReport } from './tex-report.ts'
import { texOf } from './tex-table.ts'

export interface Paper {
  /** Text files by name. */
  readonly texts: Readonly<Record<string, string>>
  /** Figures as SVG, by the name of the file without an extension. */
  readonly figures: Readonly<Record<string, string>>
}

/** Tables are named `table-2-capacity` by their number in the report and their section, figures `figure-1-...`. */
export function paperOf(report: Report, study: StudyCitation): Paper {
  const texts: Record<string, string> = {}
  const figures: Record<string, string> = {}
  const counts = { figure: 0, table: 0 }
  const name = uniqueNames()
  const add = (block: Block, section: string): PaperBlock => {
    counts[block.kind]++
    const file = name(`${block.kind} ${counts[block.kind]} ${block.kind === 'figure' ? block.id : section}`)
    if (block.kind === 'table') {
      texts[`${file}.tex`] = texOf(block)
      texts[`${file}.csv`] = csvOf(block)
    } else figures[file] = standaloneSvg(block, file, widths.paper)
    return { file, block }
  }
  const sections = report.sections.map((section) => ({
    section,
    lead: section.lead && add(section.lead, section.id),
    blocks: section.blocks.map((block) => add(block, section.id)),
  }))
  texts['report.tex'] = texReport(report, sections, study.date)
  texts['report.bib'] = bibliography(report, study)
  return { texts, figures }
}
