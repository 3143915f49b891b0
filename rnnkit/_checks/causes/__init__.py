"""Why a call is wrong and what to type: chains of questions, asked when a guard did not fit."""
