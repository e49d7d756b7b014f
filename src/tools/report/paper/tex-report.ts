/** The report as an article in LaTeX, which inputs the tables and figures that lie beside it. */
import type { Figure, Table } from '../blocks.ts'
import type { Report } from '../report.ts'
import { isLongTable } from './tex-table.ts'
import { texText } from './tex-text.ts'

/** A table or figure with the name of its file, without an extension. */
export interface PaperBlock {
  readonly file: string
  readonly block: Table | Figure
}

export interface PaperSection {
  readonly section: Report['sections'][number]
  readonly lead: PaperBlock | undefined
  readonly blocks: readonly PaperBlock[]
}

// Tables and figures are scaled down to the page where they are larger.
const preamble = String.raw`% LaTeX includes no SVG. Convert the figures first:
%   for f in figure-*.svg; do rsvg-convert -f pdf -o "$(basename "$f" .svg).pdf" "$f"; done
\documentclass{article}
\usepackage[T1]{fontenc}
\usepackage{textcomp}
\usepackage[margin=25mm]{geometry}
\usepackage{booktabs}
\usepackage{float}
\usepackage{graphicx}
\usepackage{longtable}
\newsavebox{\fitbox}
\newcommand{\fit}[1]{%
  \sbox{\fitbox}{#1}%
  \ifdim\wd\fitbox>\linewidth\sbox{\fitbox}{\resizebox{\linewidth}{!}{\usebox{\fitbox}}}\fi
  \ifdim\dimexpr\ht\fitbox+\dp\fitbox\relax>0.7\textheight
    \sbox{\fitbox}{\resizebox*{!}{0.7\textheight}{\usebox{\fitbox}}}\fi
  \usebox{\fitbox}}
\setlength{\emergencystretch}{3em}
`

export function texReport(report: Report, sections: readonly PaperSection[], date: Date): string {
  return [
    preamble,
    `\\title{${texText(report.title)}}`,
    '\\author{}',
    `\\date{${date.toISOString().slice(0, 10)}}`,
    '\\begin{document}',
    '\\maketitle',
    ...(report.headline === undefined ? [] : [`\\noindent\\textbf{${texText(report.headline)}}`, '']),
    ...items(report.facts),
    'Made by',
    ...typed(report.command),
    ...sections.flatMap(sectionOf),
    '\\nocite{*}',
    '\\bibliographystyle{plain}',
    '\\bibliography{report}',
    '\\end{document}',
    '',
  ].join('\n')
}

const sectionOf = ({ section, lead, blocks }: PaperSection): string[] => [
  '',
  `\\section{${texText(section.title)}}`,
  ...(section.about === '' ? [] : [texText(section.about), '']),
  ...(lead ? float(lead) : []),
  ...items(section.verdicts),
  ...(section.command === undefined ? [] : typed(section.command)),
  ...blocks.flatMap(float),
]

const items = (texts: readonly string[]): string[] =>
  texts.length === 0 ? [] : ['\\begin{itemize}', ...texts.map((text) => `\\item ${texText(text)}`), '\\end{itemize}']

const typed = (command: string): string[] => ['\\begin{flushleft}', `\\texttt{${texText(command)}}`, '\\end{flushleft}']

/** The caption of a table is above it, and the caption of a figure below. */
function float({ file, block }: PaperBlock): string[] {
  const caption = `\\caption{${texText(block.caption)}}\\label{${file}}`
  if (block.kind === 'table' && isLongTable(block))
    return ['\\begin{table}[H]', caption, '\\end{table}', '\\addtocounter{table}{-1}', `\\input{${file}}`]
  return block.kind === 'table'
    ? ['\\begin{table}[H]', '\\centering', caption, `\\fit{\\input{${file}}}`, '\\end{table}']
    : ['\\begin{figure}[H]', '\\centering', `\\fit{\\includegraphics{${file}}}`, caption, '\\end{figure}']
}
