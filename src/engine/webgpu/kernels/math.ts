/** Functions that WGSL lacks, and activations made of them, for numbers or vectors. */

type FloatType = 'f32' | 'vec4<f32>'

/**
 * `fn erf(x: T) -> T`, which WGSL lacks: the rational approximation of Eigen 3.4 (`generic_fast_erf_float`) and XLA,
 * x·P(x²)/Q(x²) for |x| < 4, beyond which erf is ±1 in float32. Its error is below 3e-7.
 */
export const erfCode = (type: FloatType): string => `
fn erf(value: ${type}) -> ${type} {
  let x = clamp(value, ${type}(-4.0), ${type}(4.0));
  let s = x * x;
  var p = ${type}(-2.72614225801306e-10);
  p = fma(p, s, ${type}(2.77068142495902e-08));
  p = fma(p, s, ${type}(-2.10102402082508e-06));
  p = fma(p, s, ${type}(-5.69250639462346e-05));
  p = fma(p, s, ${type}(-7.34990630326855e-04));
  p = fma(p, s, ${type}(-2.95459980854025e-03));
  p = fma(p, s, ${type}(-1.60960333262415e-02));
  var q = ${type}(-1.45660718464996e-05);
  q = fma(q, s, ${type}(-2.13374055278905e-04));
  q = fma(q, s, ${type}(-1.68282697438203e-03));
  q = fma(q, s, ${type}(-7.37332916720468e-03));
  q = fma(q, s, ${type}(-1.42647390514189e-02));
  return x * p / q;
}`

/**
 * `gelu(x)`, x·Φ(x) (Hendrycks and Gimpel 2016) with Φ(x) = (1 + erf(x/√2))/2, and `gelu_slope(x)`, its derivative
 * Φ(x) + x·φ(x).
 */
export const geluCode = (type: FloatType): string => `${erfCode(type)}
fn normal_cdf(x: ${type}) -> ${type} { return 0.5 + 0.5 * erf(${Math.SQRT1_2} * x); }
fn gelu(x: ${type}) -> ${type} { return x * normal_cdf(x); }
fn gelu_slope(x: ${type}) -> ${type} {
  return normal_cdf(x) + ${1 / Math.sqrt(2 * Math.PI)} * x * exp(-0.5 * x * x);
}`

/** `swish(x)`, x·σ(x) (Ramachandran et al. 2017), and `swish_slope(x)`, its derivative σ(x)·(1 + x·(1 − σ(x))). */
export const swishCode = (type: FloatType): string => `
// exp may not exceed the largest float: WGSL does not define what follows.
fn sigmoid(x: ${type}) -> ${type} { return 1.0 / (1.0 + exp(min(-x, ${type}(80.0)))); }
fn swish(x: ${type}) -> ${type} { return x * sigmoid(x); }
fn swish_slope(x: ${type}) -> ${type} {
  let s = sigmoid(x);
  return s * (1.0 + x * (1.0 - s));
}`
