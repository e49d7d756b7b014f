/** Reports as data, and as one HTML page or as Markdown with figures. */
export type {
  Axis,
  BarFigure,
  Block,
  Cell,
  Figure,
  HeatFigure,
  IntervalCell,
  IntervalFigure,
  LineFigure,
  ScatterFigure,
  Table,
  TextCell,
  Tone,
} from './blocks.ts'
export { renderHtml } from './html.ts'
export { type Markdown, renderMarkdown } from './markdown.ts'
export type { Report, Section } from './report.ts'
