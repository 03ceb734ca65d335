/**
 * Six families of chat templates, written from their documented prompt formats, with what makes each of them hard for
 * prefixes; and the engine's part around them: joining text parts and reading tool calls' arguments as vLLM and
 * llama-server do before they render. Only tests import it.
 */
import { Template } from '@huggingface/jinja';
import { isRecord, type JsonRecord } from '../../shape.ts';

export interface ChatTemplate {
  readonly name: string;
  readonly source: string;
  /** The template gets content lists as they are; else the engine has joined text parts to one text. */
  readonly readsParts: boolean;
}

/** Tools within the first user's turn, texts trimmed, tool results as JSON, text beside tool calls left out. */
const llama = `{{- bos_token }}
{%- if messages[0]['role'] == 'system' %}
  {%- set system_message = messages[0]['content'] | trim %}
  {%- set messages = messages[1:] %}
{%- else %}
  {%- set system_message = '' %}
{%- endif %}
{{- '<|start_header_id|>system<|end_header_id|>\\n\\n' }}
{%- if tools %}{{- 'Environment: ipython\\n' }}{%- endif %}
{{- 'Cutting Knowledge Date: December 2023\\nToday Date: 26 Jul 2024\\n\\n' }}
{{- system_message }}{{- '<|eot_id|>' }}
{%- if tools %}
  {%- if messages | length == 0 or messages[0]['role'] != 'user' %}
    {{- raise_exception('Tools need a first user message') }}
  {%- endif %}
  {%- set first = messages[0]['content'] | trim %}
  {%- set messages = messages[1:] %}
  {{- '<|start_header_id|>user<|end_header_id|>\\n\\n' }}
  {{- 'Given the following functions, please respond with a JSON for a function call.\\n\\n' }}
  {%- for tool in tools %}{{- tool | tojson(indent=4) }}{{- '\\n\\n' }}{%- endfor %}
  {{- first + '<|eot_id|>' }}
{%- endif %}
{%- for message in messages %}
  {%- if message.role == 'tool' %}
    {{- '<|start_header_id|>ipython<|end_header_id|>\\n\\n' }}{{- message.content | tojson }}{{- '<|eot_id|>' }}
  {%- elif 'tool_calls' in message %}
    {%- if message.tool_calls | length != 1 %}
      {{- raise_exception('One tool call at a time') }}
    {%- endif %}
    {%- set call = message.tool_calls[0].function %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
    {{- '{"name": "' + call.name + '", "parameters": ' }}{{- call.arguments | tojson }}{{- '}<|eot_id|>' }}
  {%- else %}
    {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' }}
    {{- message['content'] | trim }}{{- '<|eot_id|>' }}
  {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{%- endif %}`;

const chatmlTools = `{{- '# Tools\\n\\nYou may call one or more functions.\\n\\n<tools>' }}
  {%- for tool in tools %}{{- '\\n' }}{{- tool | tojson }}{%- endfor %}
  {{- '\\n</tools>\\n\\nReturn a json object within <tool_call></tool_call> tags.<|im_end|>\\n' }}`;

const chatmlResults = `{%- if loop.index0 == 0 or messages[loop.index0 - 1].role != 'tool' %}
      {{- '<|im_start|>user' }}
    {%- endif %}
    {{- '\\n<tool_response>\\n' + message.content + '\\n</tool_response>' }}
    {%- if loop.last or messages[loop.index0 + 1].role != 'tool' %}{{- '<|im_end|>\\n' }}{%- endif %}`;

const chatmlCalls = `{%- for call in message.tool_calls %}
        {{- '\\n<tool_call>\\n{"name": "' + call.function.name + '", "arguments": ' }}
        {{- call.function.arguments | tojson }}{{- '}\\n</tool_call>' }}
      {%- endfor %}`;

/** A default system text, tools behind the system text, results of several tools within one user's turn. */
const qwen25 = `{%- if tools %}
  {{- '<|im_start|>system\\n' }}
  {%- if messages[0]['role'] == 'system' %}
    {{- messages[0]['content'] }}
  {%- else %}
    {{- 'You are Qwen, created by Alibaba Cloud. You are a helpful assistant.' }}
  {%- endif %}
  {{- '\\n\\n' }}${chatmlTools}
{%- elif messages[0]['role'] == 'system' %}
  {{- '<|im_start|>system\\n' + messages[0]['content'] + '<|im_end|>\\n' }}
{%- else %}
  {{- '<|im_start|>system\\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
  {%- if message.role == 'tool' %}
    ${chatmlResults}
  {%- elif message.role == 'assistant' and message.tool_calls %}
    {{- '<|im_start|>assistant' }}
    {%- if message.content %}{{- '\\n' + message.content }}{%- endif %}
    ${chatmlCalls}
    {{- '<|im_end|>\\n' }}
  {%- elif message.role != 'system' or not loop.first %}
    {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
  {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}`;

/** Reasoning is left out of all answers before the user's last question; in fields or within the content. */
const qwen3 = `{%- if tools %}
  {{- '<|im_start|>system\\n' }}
  {%- if messages[0].role == 'system' %}{{- messages[0].content + '\\n\\n' }}{%- endif %}
  ${chatmlTools}
{%- elif messages[0].role == 'system' %}
  {{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}
{%- endif %}
{%- set ns = namespace(last_query_index=messages | length - 1) %}
{%- for message in messages %}
  {%- if message.role == 'user' and message.content is string %}
    {%- if not (message.content.startswith('<tool_response>') and message.content.endswith('</tool_response>')) %}
      {%- set ns.last_query_index = loop.index0 %}
    {%- endif %}
  {%- endif %}
{%- endfor %}
{%- for message in messages %}
  {%- if message.content is string %}{%- set content = message.content %}
  {%- else %}{%- set content = '' %}{%- endif %}
  {%- if message.role == 'user' or (message.role == 'system' and not loop.first) %}
    {{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>\\n' }}
  {%- elif message.role == 'assistant' %}
    {%- set reasoning = '' %}
    {%- if message.reasoning_content is string %}
      {%- set reasoning = message.reasoning_content %}
    {%- elif '</think>' in content %}
      {%- set reasoning = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
      {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
    {%- endif %}
    {%- if loop.index0 > ns.last_query_index and (loop.last or reasoning) %}
      {{- '<|im_start|>assistant\\n<think>\\n' + reasoning.strip('\\n') + '\\n</think>\\n\\n' + content.lstrip('\\n') }}
    {%- else %}
      {{- '<|im_start|>assistant\\n' + content }}
    {%- endif %}
    {%- if message.tool_calls %}
      ${chatmlCalls}
    {%- endif %}
    {{- '<|im_end|>\\n' }}
  {%- elif message.role == 'tool' %}
    ${chatmlResults}
  {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
  {{- '<|im_start|>assistant\\n' }}
  {%- if enable_thinking is defined and enable_thinking is false %}{{- '<think>\\n\\n</think>\\n\\n' }}{%- endif %}
{%- endif %}`;

/** Tools before the last user's turn, the system text within it when it ends the prompt: both move with each turn. */
const mistral = `{{- bos_token }}
{%- if messages[0]['role'] == 'system' %}
  {%- set system_message = messages[0]['content'] %}
  {%- set messages = messages[1:] %}
{%- endif %}
{%- set ns = namespace(last_user=-1) %}
{%- for message in messages %}
  {%- if message.role == 'user' %}{%- set ns.last_user = loop.index0 %}{%- endif %}
{%- endfor %}
{%- for message in messages %}
  {%- if message.role == 'user' %}
    {%- if loop.index0 > 0 and messages[loop.index0 - 1].role == 'user' %}
      {{- raise_exception('Conversation roles must alternate') }}
    {%- endif %}
    {%- if tools and loop.index0 == ns.last_user %}
      {{- '[AVAILABLE_TOOLS] ' + (tools | tojson) + '[/AVAILABLE_TOOLS]' }}
    {%- endif %}
    {%- if loop.last and system_message is defined %}
      {{- '[INST] ' + system_message + '\\n\\n' + message.content + '[/INST]' }}
    {%- else %}
      {{- '[INST] ' + message.content + '[/INST]' }}
    {%- endif %}
  {%- elif message.tool_calls %}
    {{- '[TOOL_CALLS] [' }}
    {%- for call in message.tool_calls %}
      {%- if call.id | length != 9 %}{{- raise_exception('Tool call ids have nine characters') }}{%- endif %}
      {{- '{"name": "' + call.function.name + '", "arguments": ' + (call.function.arguments | tojson) }}
      {{- ', "id": "' + call.id + '"}' }}
      {%- if not loop.last %}{{- ', ' }}{%- endif %}
    {%- endfor %}
    {{- ']' + eos_token }}
  {%- elif message.role == 'assistant' %}
    {{- ' ' + message.content + eos_token }}
  {%- elif message.role == 'tool' %}
    {{- '[TOOL_RESULTS] {"content": ' + message.content + ', "call_id": "' + message.tool_call_id + '"}' }}
    {{- '[/TOOL_RESULTS]' }}
  {%- else %}
    {{- raise_exception('Only user, assistant and tool roles are supported') }}
  {%- endif %}
{%- endfor %}`;

/** No system role: its text opens the first user's turn. No tools. Texts trimmed, lists of parts read by itself. */
const gemma = `{{- bos_token }}
{%- if messages[0]['role'] == 'system' %}
  {%- if messages[0]['content'] is string %}{%- set prefix = messages[0]['content'] + '\\n\\n' %}
  {%- else %}{%- set prefix = messages[0]['content'][0]['text'] + '\\n\\n' %}{%- endif %}
  {%- set loop_messages = messages[1:] %}
{%- else %}
  {%- set prefix = '' %}
  {%- set loop_messages = messages %}
{%- endif %}
{%- for message in loop_messages %}
  {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}
    {{- raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}
  {%- endif %}
  {%- if message['role'] == 'assistant' %}{%- set role = 'model' %}
  {%- else %}{%- set role = message['role'] %}{%- endif %}
  {{- '<start_of_turn>' + role + '\\n' }}
  {%- if loop.first %}{{- prefix }}{%- endif %}
  {%- if message['content'] is string %}
    {{- message['content'] | trim }}
  {%- else %}
    {%- for item in message['content'] %}
      {%- if item['type'] == 'text' %}{{- item['text'] | trim }}
      {%- else %}{{- '<start_of_image>' }}{%- endif %}
    {%- endfor %}
  {%- endif %}
  {{- '<end_of_turn>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<start_of_turn>model\\n' }}{%- endif %}`;

/** All system messages gathered at the front, reasoning never rendered, a turn that begins in the middle of one. */
const deepseek = `{%- set ns = namespace(is_tool=false, is_first_sp=true, system_prompt='') %}
{%- for message in messages %}
  {%- if message['role'] == 'system' %}
    {%- if ns.is_first_sp %}
      {%- set ns.system_prompt = ns.system_prompt + message['content'] %}
      {%- set ns.is_first_sp = false %}
    {%- else %}
      {%- set ns.system_prompt = ns.system_prompt + '\\n\\n' + message['content'] %}
    {%- endif %}
  {%- endif %}
{%- endfor %}
{{- bos_token }}{{- ns.system_prompt }}
{%- for message in messages %}
  {%- if message['role'] == 'user' %}
    {%- set ns.is_tool = false %}
    {{- '<｜User｜>' + message['content'] }}
  {%- elif message['role'] == 'assistant' and message['tool_calls'] %}
    {%- set ns.is_tool = false %}
    {{- '<｜Assistant｜><｜tool▁calls▁begin｜>' }}
    {%- for call in message['tool_calls'] %}
      {{- '<｜tool▁call▁begin｜>function<｜tool▁sep｜>' + call.function.name + '\\n' }}
      {{- call.function.arguments | tojson }}{{- '<｜tool▁call▁end｜>' }}
    {%- endfor %}
    {{- '<｜tool▁calls▁end｜><｜end▁of▁sentence｜>' }}
  {%- elif message['role'] == 'assistant' %}
    {%- if ns.is_tool %}
      {{- '<｜tool▁outputs▁end｜>' + message['content'] + '<｜end▁of▁sentence｜>' }}
      {%- set ns.is_tool = false %}
    {%- else %}
      {%- set content = message['content'] %}
      {%- if '</think>' in content %}{%- set content = content.split('</think>')[-1] %}{%- endif %}
      {{- '<｜Assistant｜>' + content + '<｜end▁of▁sentence｜>' }}
    {%- endif %}
  {%- elif message['role'] == 'tool' %}
    {%- if not ns.is_tool %}{{- '<｜tool▁outputs▁begin｜>' }}{%- set ns.is_tool = true %}{%- endif %}
    {{- '<｜tool▁output▁begin｜>' + message['content'] + '<｜tool▁output▁end｜>' }}
  {%- endif %}
{%- endfor %}
{%- if ns.is_tool %}{{- '<｜tool▁outputs▁end｜>' }}{%- endif %}
{%- if add_generation_prompt and not ns.is_tool %}{{- '<｜Assistant｜><think>\\n' }}{%- endif %}`;

export const chatTemplates: readonly ChatTemplate[] = [
  { name: 'Llama 3.1', source: llama, readsParts: false },
  { name: 'Qwen2.5', source: qwen25, readsParts: false },
  { name: 'Qwen3', source: qwen3, readsParts: false },
  { name: 'Mistral', source: mistral, readsParts: false },
  { name: 'Gemma', source: gemma, readsParts: true },
  { name: 'DeepSeek-R1', source: deepseek, readsParts: false },
];

const textOf = (part: unknown): string => {
  if (!isRecord(part)) return '';
  return typeof part.text === 'string' ? part.text : '<image>';
};

/** Arguments are an object to the template when they are JSON. */
const withArguments = (call: unknown): unknown => {
  if (!isRecord(call) || !isRecord(call.function)) return call;
  let read: unknown = call.function.arguments;
  try {
    read = JSON.parse(String(read));
  } catch {
    // It stays a string.
  }
  return { ...call, function: { ...call.function, arguments: read } };
};

/** A message as the engine hands it to the template: in UTF-8, which has no halves of surrogate pairs. */
const prepared = (message: unknown, readsParts: boolean): unknown => {
  if (!isRecord(message)) return message;
  const { content, tool_calls: calls } = message;
  const isList = Array.isArray(content) && !readsParts;
  return {
    ...message,
    ...(isList ? { content: content.map(textOf).join('\n') } : {}),
    ...(Array.isArray(calls) ? { tool_calls: calls.map(withArguments) } : {}),
  };
};

/** The prompt that an engine with this template makes of a request; undefined when the template refuses it. */
export const renderer = ({
  source,
  readsParts,
}: ChatTemplate): ((body: JsonRecord) => string | undefined) => {
  const template = new Template(source);
  return ({ messages, tools, chat_template_kwargs: more }) => {
    const listed: readonly unknown[] = Array.isArray(messages) ? messages : [];
    try {
      return template.render({
        ...(isRecord(more) ? more : {}),
        messages: listed.map((message) => prepared(message, readsParts)),
        ...(Array.isArray(tools) && tools.length > 0 ? { tools } : {}),
        add_generation_prompt: true,
        bos_token: '<s>',
        eos_token: '</s>',
      });
    } catch {
      return undefined;
    }
  };
};
