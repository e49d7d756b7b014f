/** Blocks of a section: tables and figures as data. Renderers (html.ts, markdown.ts, figures/) draw them. */

/**
 * Tone of a cell. A colour always has the same meaning, in tables, drawn intervals and forest plots: an effect whose
 * interval excludes zero, `better` (below zero) or `worse`. `strong` is emphasised without a colour, such as an answer;
 * `open` is quiet, since nothing is decided.
 */
export type Tone = 'better' | 'worse' | 'strong' | 'open'

/**
 * The numbers of a cell with all their digits, for files that programs read. Without them, a program gets the numbers
 * that the text shows.
 */
export interface Exact {
  /** The number of the text, or several side by side; empty if the text is the interval. */
  readonly values: readonly (number | null)[]
  /** The interval that the note shows, or the text if there are no values. An end is null if there is none. */
  readonly interval?: readonly [low: number | null, high: number | null]
}

/** Text with a note in small print below it. */
export interface TextCell {
  readonly text: string
  readonly note?: string
  readonly tone?: Tone
  readonly exact?: Exact
}

/**
 * An interval drawn on an axis from -`reach` to `reach` with zero marked. An end beyond the axis is an arrow, and a mean
 * beyond it a dot at the end of the axis after a break.
 */
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
  /** Distinguishes the table from the others of its section, in the names of files; it does not depend on its position. */
  readonly id?: string
  readonly caption: string
  readonly columns: readonly { readonly title: string; readonly align: 'left' | 'right' }[]
  readonly rows: readonly (readonly Cell[])[]
}

export type Grid = Pick<Table, 'columns' | 'rows'>

export interface Axis {
  readonly label: string
  readonly scale: 'linear' | 'log'
}

interface FigureBase {
  readonly kind: 'figure'
  /** Name of the file and the anchors, in lower case with dashes. */
  readonly id: string
  readonly caption: string
}

/**
 * Lines over x, with an optional band from `low` to `high`. A null interrupts the line. `dots` are single values that
 * no line joins, such as the values of seeds. `mark` numbers the colour, shape and dash of a series, from 0, so that it
 * looks the same in all figures; without it, that is its place in the figure.
 */
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
    readonly dots?: readonly { readonly x: number; readonly y: number }[]
    readonly mark?: number
  }[]
}

/** Labelled points; `low` and `high` are an interval of y. Points of a group share a colour and a shape. */
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
  /** Points of a fitted line, which is straight in the scales of the axes, from end to end. */
  readonly trend?: readonly (readonly [x: number, y: number])[]
}

/** A forest plot: each row has a mean with its interval, on a common axis with a line at `zero`. */
export interface IntervalFigure extends FigureBase {
  readonly form: 'intervals'
  readonly x: Axis
  readonly zero: number
  /** Meaning of values left and right of zero, in words. */
  readonly sides: readonly [left: string, right: string]
  readonly rows: readonly {
    readonly label: string
    readonly mean: number
    readonly low: number
    readonly high: number
    /** One value per seed. */
    readonly values: readonly number[]
  }[]
}

/** Matrices of numbers as colours, in panels with a common scale. */
export interface HeatFigure extends FigureBase {
  readonly form: 'heat'
  readonly xLabel: string
  readonly yLabel: string
  /** Meaning of the colours, and the middle value if the scale diverges. */
  readonly valueLabel: string
  readonly middle?: number
  readonly panels: readonly {
    readonly title: string
    readonly columns: readonly string[]
    readonly rows: readonly string[]
    /** Values as [rows][columns]; null if there is no value. */
    readonly values: readonly (readonly (number | null)[])[]
  }[]
}

/**
 * Stacked bars, one per row, starting at zero. A part has the same colour in all rows. Values that are negative or
 * not finite are not drawn; a note of the figure counts them.
 */
export interface BarFigure extends FigureBase {
  readonly form: 'bars'
  /** Stacked lengths need a linear axis. */
  readonly x: Axis & { readonly scale: 'linear' }
  /** Names of the parts, in the order of the legend and of the stacks. */
  readonly parts: readonly string[]
  readonly rows: readonly {
    readonly label: string
    /** Lengths, one per part. */
    readonly values: readonly number[]
    /** Small print under the label. */
    readonly note?: string
  }[]
  /** A named line across all bars, such as the memory of a device. Bars are marked where they exceed it. */
  readonly limit?: { readonly value: number; readonly label: string }
}

export type Figure = LineFigure | ScatterFigure | IntervalFigure | HeatFigure | BarFigure
export type Block = Table | Figure
