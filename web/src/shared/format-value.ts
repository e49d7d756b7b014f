import { valueLabel } from '../../../src/core/text/number-labels.ts'

/** Formats a measured value with enough digits to distinguish neighbours: 3.4127, 0.0003, 1.2×10⁻⁷, 15,210. */
export const formatValue = (value: number | null | undefined): string => valueLabel(value, 5)
