/**
 * `range` as templates call it, with an end: the interpreter makes a list of it before the first turn of a loop, so
 * that one of many millions fills any heap. Pure.
 */
import { Template } from '@huggingface/jinja';

/** Templates count messages with it. */
const rangeMax = 100_000;

const range = (first: number, end?: number, step = 1): readonly number[] => {
  const [from, to] = end === undefined ? [0, first] : [first, end];
  const count = Math.max(0, Math.ceil((to - from) / step));
  if (!(count <= rangeMax)) throw new Error(`range() of more than ${rangeMax}, or of no numbers`);
  return Array.from({ length: count }, (_, at) => from + at * step);
};

/** The interpreter takes no other `range` than its own, so that templates set it first. */
const name = 'bounded_range';
const setting = `{% set range = ${name} %}`;

/** To be given to each template that is bound. */
export const boundedRange = { [name]: range };

export const bindRange = (template: Template): Template => {
  template.parsed.body.unshift(...new Template(setting).parsed.body);
  return template;
};
