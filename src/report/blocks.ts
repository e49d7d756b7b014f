/** What a section shows: tables and figures as data. Renderers (html.ts, markdown.ts, figures/) draw them. */

/** How a cell is coloured: a finding for, one against, or neither. */
export type Tone = 'for' | 'against' | 'open'

/** Words with small print below them. */
export interface TextCell {
  readonly text: string
  readonly note?: string
  readonly tone?: Tone
}

/** An interval drawn on an axis from -`reach` to `reach` with zero marked; what lies beyond ends in an arrow. */
export interface IntervalCell {
  readonly mean: number
  readonly low: number
  readonly high: number
  readonly reach: number
  readonly tone: Tone
}

export type Cell = string | TextCell | IntervalCell

export interface Table {
  readonly kind: 'table'
  readonly caption: string
  readonly columns: readonly { readonly title: string; readonly align: 'left' | 'right' }[]
  readonly rows: readonly (readonly Cell[])[]
}

export interface Axis {
  readonly label: string
  readonly scale: 'linear' | 'log'
}

interface FigureBase {
  readonly kind: 'figure'
  /** Names the file and anchors: lower case, dashes. */
  readonly id: string
  readonly caption: string
}

/** Lines over x, with a band from `low` to `high` where it is given. Null: no value, and the line is interrupted. */
export interface LineFigure extends FigureBase {
  readonly form: 'lines'
  readonly x: Axis
  readonly y: Axis
  readonly series: readonly {
    readonly name: string
    readonly x: readonly number[]
    readonly y: readonly (number | null)[]
    readonly low?: readonly (number | null)[]
    readonly high?: readonly (number | null)[]
  }[]
}

/** Points, each with a label; `low` and `high` are an interval of y. Points of a group share a colour and a shape. */
export interface ScatterFigure extends FigureBase {
  readonly form: 'scatter'
  readonly x: Axis
  readonly y: Axis
  readonly points: readonly {
    readonly label: string
    readonly group: string
    readonly x: number
    readonly y: number
    readonly low?: number
    readonly high?: number
  }[]
  /** A fitted straight line (in the axes' scales), from end to end. */
  readonly trend?: readonly (readonly [x: number, y: number])[]
}

/** A row an arm: a dot and its interval on one axis, with a line at `zero`. A forest plot. */
export interface IntervalFigure extends FigureBase {
  readonly form: 'intervals'
  readonly x: Axis
  readonly zero: number
  /** What lies left and right of zero, in words. */
  readonly sides: readonly [left: string, right: string]
  readonly rows: readonly {
    readonly label: string
    readonly mean: number
    readonly low: number
    readonly high: number
    /** Single values, one a seed. */
    readonly values: readonly number[]
  }[]
}

/** A matrix of numbers by colour: several panels with the same scale. */
export interface HeatFigure extends FigureBase {
  readonly form: 'heat'
  readonly xLabel: string
  readonly yLabel: string
  /** What a colour means, and the value in the middle of the scale when it goes both ways. */
  readonly valueLabel: string
  readonly middle?: number
  readonly panels: readonly {
    readonly title: string
    readonly columns: readonly string[]
    readonly rows: readonly string[]
    /** [rows][columns]; null: no value. */
    readonly values: readonly (readonly (number | null)[])[]
  }[]
}

/**
 * A bar a row, of parts laid end to end from zero; parts of a kind share a colour in all rows. A value that is
 * negative or not finite is drawn as nothing, and the figure says so.
 */
export interface BarFigure extends FigureBase {
  readonly form: 'bars'
  /** Lengths that add up are on no logarithmic axis. */
  readonly x: Axis & { readonly scale: 'linear' }
  /** In the order of the legend and of the stacks. */
  readonly parts: readonly string[]
  readonly rows: readonly {
    readonly label: string
    /** One a part. */
    readonly values: readonly number[]
    /** Small print under the label. */
    readonly note?: string
  }[]
  /** A line across all bars with its name, such as the memory of a device: what lies beyond is marked. */
  readonly limit?: { readonly value: number; readonly label: string }
}

export type Figure = LineFigure | ScatterFigure | IntervalFigure | HeatFigure | BarFigure
export type Block = Table | Figure
