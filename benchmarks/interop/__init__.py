"""Whether others read our GPTQ folders as we do, and we theirs."""
